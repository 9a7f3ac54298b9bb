// Command fields prints what every payload of Nomad's event stream may hold: a path and the JSON type of its value, one a line.
//
// It fills one of each payload to the last field, by reflection, encodes it as the event stream does, and walks through the
// result; so names are those on the wire, and what is never sent is not there. `[]` is any element of a list, `*` any key of a
// map, the type `any` whatever users write there. A job or an allocation inside something else is not entered again.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/nomad/nomad/structs"
)

// Stands for a value of any shape, and for the key of a map.
const (
	anything = "\x00any"
	anyKey   = "*"
)

// The payloads by topic. Nomad 2.0 sends the metadata of variables; the wrapper is not in the structs of 1.11.
var payloads = []struct {
	topic   string
	payload any
}{
	{"Job", &structs.JobEvent{}},
	{"Allocation", &structs.AllocationEvent{}},
	{"Evaluation", &structs.EvaluationEvent{}},
	{"Deployment", &structs.DeploymentEvent{}},
	{"Node", &structs.NodeStreamEvent{}},
	{"Service", &structs.ServiceRegistrationStreamEvent{}},
	{"Variable", &struct {
		Metadata *structs.VariableMetadata
		Deleted  bool
	}{}},
	{"HostVolume", &structs.HostVolumeEvent{}},
	{"CSIVolume", &structs.CSIVolumeEvent{}},
	{"CSIPlugin", &structs.CSIPluginEvent{}},
	{"NodePool", &structs.NodePoolEvent{}},
	{"ACLPolicy", &structs.ACLPolicyEvent{}},
	{"ACLRole", &structs.ACLRoleStreamEvent{}},
	{"ACLToken", &structs.ACLTokenEvent{}},
	{"ACLAuthMethod", &structs.ACLAuthMethodEvent{}},
	{"ACLBindingRule", &structs.ACLBindingRuleEvent{}},
}

func main() {
	for _, one := range payloads {
		fill(reflect.ValueOf(one.payload).Elem(), 0, nil)
		var text bytes.Buffer
		encoder := codec.NewEncoder(&text, structs.JsonHandleWithExtensions)
		check(encoder.Encode(one.payload))
		var tree any
		check(json.Unmarshal(text.Bytes(), &tree))
		fmt.Printf("# %s\n", one.topic)
		walk(tree, "")
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fill gives every field a value that is not empty.
func fill(value reflect.Value, depth int, above []reflect.Type) {
	if !value.CanSet() {
		return
	}
	switch typed := value.Interface().(type) {
	case time.Time:
		value.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
		return
	case []byte:
		value.SetBytes([]byte("bytes"))
		return
	default:
		_ = typed
	}
	switch value.Kind() {
	case reflect.Pointer:
		inner := value.Type().Elem()
		if depth > 1 && (inner == reflect.TypeFor[structs.Job]() || inner == reflect.TypeFor[structs.Allocation]()) {
			return
		}
		for _, one := range above {
			if one == inner {
				return
			}
		}
		value.Set(reflect.New(inner))
		fill(value.Elem(), depth+1, append(above[:len(above):len(above)], inner))
	case reflect.Struct:
		for place := range value.NumField() {
			fill(value.Field(place), depth+1, above)
		}
	case reflect.Map:
		key := reflect.New(value.Type().Key()).Elem()
		if key.Kind() == reflect.String {
			key.SetString(anyKey)
		} else {
			fill(key, depth+1, above)
		}
		entry := reflect.New(value.Type().Elem()).Elem()
		fill(entry, depth+1, above)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, entry)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(value.Index(0), depth+1, above)
	case reflect.Array:
		for place := range value.Len() {
			fill(value.Index(place), depth+1, above)
		}
	case reflect.Interface:
		if value.NumMethod() == 0 {
			value.Set(reflect.ValueOf(anything))
		}
	case reflect.String:
		value.SetString("text")
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		value.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value.SetUint(7)
	case reflect.Float32, reflect.Float64:
		value.SetFloat(0.5)
	}
}

func walk(tree any, path string) {
	switch tree := tree.(type) {
	case map[string]any:
		keys := make([]string, 0, len(tree))
		for key := range tree {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			if path == "" {
				walk(tree[key], key)
			} else {
				walk(tree[key], path+"."+key)
			}
		}
	case []any:
		for _, element := range tree {
			walk(element, path+"[]")
		}
	case nil:
		fmt.Printf("%s\tnull\n", path)
	case string:
		if tree == anything {
			fmt.Printf("%s\tany\n", path)
		} else {
			fmt.Printf("%s\ttext\n", path)
		}
	case bool:
		fmt.Printf("%s\tboolean\n", path)
	case float64:
		fmt.Printf("%s\tnumber\n", path)
	}
}
