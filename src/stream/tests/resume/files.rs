//! The folder while a source runs: one owner, and a disk that fails for a while.

use std::fs;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_standby_reads_nothing_says_nothing_and_takes_over_where_the_owner_was() {
    let meters = Meters::default();
    let _guard = metrics::set_default_local_recorder(&meters);
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut owner = site.start("{}");
    owner.until_event("7:b").await;
    owner.until_saved_at(7).await;
    let mut standby = site.start("{}");
    standby.run_for(Duration::from_secs(300)).await;
    assert_eq!(standby.notices.len(), 0, "{}", standby.told());
    assert_eq!(site.server().open_streams(), 1);
    assert_eq!(asked_for(site.server()), ["0"]);
    assert_eq!(meters.gauge("nomad_events_standby"), 1.0);

    // What the owner takes meanwhile is known to the standby, though it has looked at the file before.
    site.server().append_batch(&job(9, "c")).unwrap();
    owner.until_event("9:c").await;
    owner.until_saved_at(9).await;
    owner.crash().await;
    site.server().append_batch(&job(11, "d")).unwrap();
    standby.until_event("11:d").await;
    standby.run_for(Duration::from_secs(60)).await;
    assert_eq!(standby.events, ["11:d"]);
    standby.assert_quiet();
    assert_eq!(standby.started()["resumed_from"], 9);
    assert_eq!(meters.gauge("nomad_events_standby"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_stopped_ends_at_once_and_leaves_the_owner_alone() {
    let site = Site::with([job(5, "a")]).await;
    let mut owner = site.start("{}");
    owner.until_event("5:a").await;
    let mut standby = site.start("{}");
    standby.run_for(Duration::from_secs(5)).await;
    let asked = Instant::now();
    assert_eq!(standby.stop().await, 0);
    assert!(asked.elapsed() < Duration::from_secs(1));
    site.server().append_batch(&job(7, "b")).unwrap();
    owner.until_event("7:b").await;
    owner.until_saved_at(7).await;
}

/// `build` has found it whole; damaged later, it is no reason to start anew either.
#[tokio::test(start_paused = true)]
async fn a_file_that_is_damaged_while_on_standby_is_waited_for() {
    let site = Site::with([job(5, "a"), job(7, "b")]).await;
    let mut owner = site.start("{}");
    owner.until_event("7:b").await;
    owner.until_saved_at(7).await;
    let mut standby = site.start("{}");
    standby.run_for(Duration::from_secs(5)).await;
    let whole = fs::read(site.folder().file()).unwrap();
    fs::write(site.folder().file(), &whole[..whole.len() / 2]).unwrap();
    owner.crash().await;

    standby.run_for(Duration::from_secs(600)).await;
    assert_eq!(standby.events, [""; 0]);
    assert_eq!(asked_for(site.server()), ["0"]);
    // Nor is it replaced.
    assert_eq!(
        fs::read(site.folder().file()).unwrap(),
        whole[..whole.len() / 2]
    );
    fs::write(site.folder().file(), &whole).unwrap();
    site.server().append_batch(&job(9, "c")).unwrap();
    standby.until_event("9:c").await;
    standby.run_for(Duration::from_secs(60)).await;
    assert_eq!(standby.events, ["9:c"]);
    standby.assert_quiet();
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_goes_away_is_counted_and_saved_to_again_when_it_is_back() {
    let meters = Meters::default();
    let _guard = metrics::set_default_local_recorder(&meters);
    let site = Site::with([job(5, "a")]).await;
    let mut run = site.start("{}");
    run.until_event("5:a").await;
    run.until_saved_at(5).await;
    let away = site.data.path().join("away");
    fs::rename(site.folder().path(), &away).unwrap();

    site.server().append_batch(&job(7, "b")).unwrap();
    run.until_event("7:b").await;
    run.run_for(Duration::from_secs(120)).await;
    site.server().append_batch(&job(9, "c")).unwrap();
    run.until_event("9:c").await;
    let failures = meters.counter("nomad_events_save_failures_total gone");
    // With a pause that doubles up to 30 s.
    assert!((3..30).contains(&failures), "{failures}");
    assert_eq!(meters.gauge("nomad_events_index saved"), 5.0);
    assert_eq!(meters.gauge("nomad_events_index acknowledged"), 9.0);
    assert_eq!(
        at(&Folder::at(&away).read().unwrap().unwrap()),
        (Epoch(0), 5)
    );

    fs::rename(&away, site.folder().path()).unwrap();
    run.until_saved_at(9).await;
    run.run_for(Duration::from_secs(1)).await;
    assert_eq!(meters.gauge("nomad_events_index saved"), 9.0);
    run.crash().await;
    let mut run = site.start("{}");
    run.run_for(Duration::from_secs(60)).await;
    assert_eq!(run.events, [""; 0]);
    run.assert_quiet();
}

/// Another process may own it by then: writing on would take its position back.
#[tokio::test(start_paused = true)]
async fn a_folder_that_is_replaced_is_written_to_no_more() {
    let meters = Meters::default();
    let _guard = metrics::set_default_local_recorder(&meters);
    let site = Site::with([job(5, "a")]).await;
    let mut first = site.start("{}");
    first.until_event("5:a").await;
    first.until_saved_at(5).await;
    fs::remove_dir_all(site.folder().path()).unwrap();
    let mut second = site.start("{}");
    second.until_event("5:a").await;
    second
        .until_saved("a proof", |state| proofs(state) == Some(1))
        .await;
    let of_second = fs::read(site.folder().file()).unwrap();

    second.hold();
    site.server().append_batch(&job(7, "b")).unwrap();
    first.until_event("7:b").await;
    first.run_for(Duration::from_secs(60)).await;
    assert!(meters.counter("nomad_events_save_failures_total lock_lost") > 0);
    assert_eq!(fs::read(site.folder().file()).unwrap(), of_second);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_nothing_can_be_saved_ends_in_time() {
    let site = Site::with([job(5, "a")]).await;
    let mut run = site.start("{}");
    run.until_event("5:a").await;
    run.until_saved_at(5).await;
    fs::remove_dir_all(site.folder().path()).unwrap();
    site.server().append_batch(&job(7, "b")).unwrap();
    run.until_event("7:b").await;
    let asked = Instant::now();
    assert_eq!(run.stop().await, 0);
    assert!(asked.elapsed() <= STOP, "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_folder_nothing_is_saved_and_that_is_said() {
    let site = Site::with([job(5, "a")]).await;
    let mut options: Options = serde_json::from_str("{}").unwrap();
    options.endpoints = Some(vec![site.server().url()]);
    let mut run = site.run(options.settings(|_| None).unwrap());
    run.until_event("5:a").await;
    assert_eq!(run.started()["saves_position"], false);
    assert_eq!(run.started()["continuity"], "none");
    assert_eq!(run.stop().await, 0);
    assert!(fs::read_dir(site.data.path()).unwrap().next().is_none());
}

/// Set for the process that a test starts, in which files have an end.
const LIMITED: &str = "NOMAD_EVENTS_TEST_LIMITED";

#[test]
fn a_full_disk_is_counted_and_saved_to_again_when_there_is_room() {
    // A limit on the length of files (16 or 32 KiB, as the shell counts) stands for the end of the disk: a write fails half way,
    // as on a full one. The signal that goes with it is ignored.
    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "stream::tests::resume::files::limited",
            "--exact",
            "--ignored",
        ])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
#[ignore = "run by the test before it, in a process of its own"]
async fn limited() {
    if std::env::var_os(LIMITED).is_none() {
        return;
    }
    let meters = Meters::default();
    let _guard = metrics::set_default_local_recorder(&meters);
    let site = Site::with([job(5, "a")]).await;
    let mut run = site.start("{}");
    run.until_event("5:a").await;
    run.until_saved_at(5).await;

    // Its proofs do not fit.
    let many = (0..2000).fold(BatchText::new(7), |batch, number| {
        batch.event(event("Job", &format!("b{number}")))
    });
    site.server().append_batch(&many).unwrap();
    run.until_event("7:b1999").await;
    run.run_for(Duration::from_secs(60)).await;
    let failures = meters.counter("nomad_events_save_failures_total full");
    assert!((2..30).contains(&failures), "{failures}");
    assert_eq!(at(&site.saved()), (Epoch(0), 5));
    assert_eq!(meters.gauge("nomad_events_index acknowledged"), 7.0);

    site.server().append_batch(&job(9, "c")).unwrap();
    run.until_saved_at(9).await;
    assert_eq!(run.events.len(), 2002);
    assert_eq!(meters.gauge("nomad_events_index saved"), 9.0);
    assert_eq!(run.stop().await, 0);
    let mut names: Vec<_> = fs::read_dir(site.folder().path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "position.json"]);
}
