// Reads docker-compose.yml as `docker compose` does: by its library, which holds it against the schema and resolves what it
// refers to. Shows which services each profile starts, and fails unless that is one of the two programs.
//
//	cd tests/servers/compose && go run .
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	for program, profiles := range map[string][]string{
		"nomad-vector": nil,
		"nomad-events": {"embedded"},
	} {
		services, err := services(profiles)
		if err == nil && !slices.Equal(programs(services), []string{program}) {
			err = fmt.Errorf("%s should be the only program", program)
		}
		fmt.Printf("%s: %s\n", program, strings.Join(services, " "))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// The services that `docker compose` starts with these profiles, or with those of .env when there are none.
func services(profiles []string) ([]string, error) {
	options, err := cli.NewProjectOptions(nil,
		cli.WithWorkingDirectory("../../.."),
		cli.WithEnvFiles(),
		cli.WithDotEnv,
		cli.WithDefaultConfigPath,
		cli.WithDefaultProfiles(profiles...),
	)
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	return project.ServiceNames(), nil
}

func programs(services []string) []string {
	return slices.DeleteFunc(slices.Clone(services), func(service string) bool {
		return !strings.HasPrefix(service, "nomad-")
	})
}
