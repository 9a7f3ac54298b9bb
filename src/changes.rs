//! What a new version of a job has changed: Nomad's own diff, without the values.
//!
//! A job's event shows the job as it is now, and programs keep nothing between two events. So what a version has changed is asked
//! of Nomad, which keeps the last versions of each job (`job_tracked_versions`, 6 by default) and compares them itself.
//!
//! Pure: the answer of `/v1/job/ID/versions?diffs=true` becomes [`JobChanges`]. The names of what has changed are kept, and the
//! values of container images; all other values may be secrets, and a diff does not tell which.

use std::fmt;

use serde::Deserialize;

use crate::event::RaftIndex;
use crate::payload::mask::{self, Kind, REDACTED};

/// The most fields that are kept of one version. Images come first where there are more.
pub const MAX_FIELDS: usize = 256;

/// The most versions that are read of an answer, the newest.
const MAX_VERSIONS: usize = 100;

/// The most bytes that are kept of a name or of an image. Docker takes names of 255.
pub const MAX_TEXT_BYTES: usize = 512;

/// Where a task names its container image, with every driver that has images.
const IMAGE: &str = "Config.image";

/// What is known of the changes of a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changes {
    /// What Nomad says.
    Known(JobChanges),
    /// Nomad could not be asked, or does not know any more: why, in a few words without secrets.
    Unknown(String),
}

/// What a version of a job has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobChanges {
    /// The new version.
    pub version: u64,
    /// The version that it was compared with: the newest older one that Nomad still has.
    pub previous_version: u64,
    /// Each field that is not the same, in Nomad's order: [`MAX_FIELDS`] at most.
    pub fields: Vec<ChangedField>,
    /// How many more there are.
    pub fields_left_out: usize,
}

/// A field that is not the same in two versions of a job.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangedField {
    /// The task group, unless it is a field of the job itself.
    pub task_group: Option<String>,
    /// The task, unless it is a field of its group or of the job.
    pub task: Option<String>,
    /// Names of Nomad's diff from there on, joined by dots, such as `Count`, `Env[LOG_LEVEL]` or `Config.image`.
    pub name: String,
    /// What became of it.
    pub kind: ChangeKind,
    /// The value before: an image, `[REDACTED]`, or empty where there was none.
    pub old: String,
    /// The value now: an image, `[REDACTED]`, or empty where there is none.
    pub new: String,
}

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It has a value now and had none.
    Added,
    /// It had a value and has none now.
    Deleted,
    /// It has another value.
    Edited,
}

impl ChangeKind {
    /// Nomad's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "Added",
            Self::Deleted => "Deleted",
            Self::Edited => "Edited",
        }
    }
}

impl fmt::Debug for ChangedField {
    /// Where it is, and no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangedField")
            .field("task_group", &self.task_group)
            .field("task", &self.task)
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Changes {
    /// Bytes that this keeps in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let text = match self {
            Self::Known(changes) => changes.fields.iter().map(ChangedField::bytes).sum(),
            Self::Unknown(why) => why.len(),
        };
        size_of::<Self>() + text
    }
}

impl ChangedField {
    /// Whether it is the container image of a task. That of a sidecar is one, too: Nomad makes a task of it.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.task.is_some() && self.name == IMAGE
    }

    fn bytes(&self) -> usize {
        let names = [&self.task_group, &self.task];
        let names = names.into_iter().flatten().map(String::len);
        size_of::<Self>() + names.sum::<usize>() + self.name.len() + self.old.len() + self.new.len()
    }
}

/// A version of a job that Nomad still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobVersion {
    /// Of the job: a job that was purged and registered again begins anew with version 0.
    pub(crate) create_index: RaftIndex,
    pub(crate) version: u64,
    /// `None` for the oldest, which is compared with nothing.
    pub(crate) changes: Option<JobChanges>,
}

/// Reads what `/v1/job/ID/versions?diffs=true` answers, the newest [`MAX_VERSIONS`] of it. `None` where it is something else.
///
/// Versions come newest first, and each but the last has a diff at its own place (`nomad/job_endpoint.go`, `GetJobVersions`).
pub(crate) fn read(answer: &[u8]) -> Option<Vec<JobVersion>> {
    let WireVersions { versions, diffs } = serde_json::from_slice(answer).ok()?;
    let mut diffs = diffs.unwrap_or_default().into_iter();
    let mut older = versions.iter().skip(1);
    let read = versions.iter().take(MAX_VERSIONS).map(|version| {
        // Asked for both, or the diff of one would become that of another.
        let changes = match (diffs.next(), older.next()) {
            (Some(diff), Some(previous)) => Some(diff.changes(version.version, previous.version)),
            _ => None,
        };
        JobVersion {
            create_index: version.create_index,
            version: version.version,
            changes,
        }
    });
    Some(read.collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireVersions {
    versions: Vec<WireJob>,
    diffs: Option<Vec<JobDiff>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireJob {
    create_index: RaftIndex,
    #[serde(default)]
    version: u64,
}

/// Nomad's `JobDiff` (`nomad/structs/diff.go`). Go writes empty lists as `null`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct JobDiff {
    fields: Option<Vec<FieldDiff>>,
    objects: Option<Vec<ObjectDiff>>,
    task_groups: Option<Vec<GroupDiff>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupDiff {
    name: String,
    fields: Option<Vec<FieldDiff>>,
    objects: Option<Vec<ObjectDiff>>,
    tasks: Option<Vec<ObjectDiff>>,
}

/// Of a task, too: it has the same fields.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectDiff {
    name: String,
    fields: Option<Vec<FieldDiff>>,
    objects: Option<Vec<ObjectDiff>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FieldDiff {
    r#type: String,
    name: String,
    #[serde(default)]
    old: String,
    #[serde(default)]
    new: String,
}

impl JobDiff {
    fn changes(self, version: u64, previous_version: u64) -> JobChanges {
        let mut found = Found::default();
        found.take("", self.fields, self.objects);
        for group in self.task_groups.into_iter().flatten() {
            found.task_group = Some(shortened(&group.name));
            found.take("", group.fields, group.objects);
            for task in group.tasks.into_iter().flatten() {
                found.task = Some(shortened(&task.name));
                found.take("", task.fields, task.objects);
            }
            found.task = None;
        }
        let Found {
            mut fields, count, ..
        } = found;
        if count > MAX_FIELDS {
            fields.sort_by_key(|field| !field.is_image());
            fields.truncate(MAX_FIELDS);
        }
        JobChanges {
            version,
            previous_version,
            fields_left_out: count - fields.len(),
            fields,
        }
    }
}

/// What was found so far, and where we are.
#[derive(Default)]
struct Found {
    task_group: Option<String>,
    task: Option<String>,
    /// Images, and others: of either as many as can be kept.
    fields: Vec<ChangedField>,
    images: usize,
    /// All that there are.
    count: usize,
}

impl Found {
    /// Takes the fields of an object, whose path is `path` with a dot behind it, and those of the objects in it.
    fn take(
        &mut self,
        path: &str,
        fields: Option<Vec<FieldDiff>>,
        objects: Option<Vec<ObjectDiff>>,
    ) {
        for field in fields.into_iter().flatten() {
            let kind = match field.r#type.as_str() {
                "Added" => ChangeKind::Added,
                "Deleted" => ChangeKind::Deleted,
                "Edited" => ChangeKind::Edited,
                // `None`: what did not change is shown beside what did.
                _ => continue,
            };
            let mut changed = ChangedField {
                task_group: self.task_group.clone(),
                task: self.task.clone(),
                name: shortened(&format!("{path}{}", field.name)),
                kind,
                old: String::new(),
                new: String::new(),
            };
            let is_image = changed.is_image();
            self.count += 1;
            let of_its_kind = if is_image {
                self.images += 1;
                self.images
            } else {
                self.count - self.images
            };
            if of_its_kind > MAX_FIELDS {
                continue;
            }
            let value = |text: &str| match text {
                "" => String::new(),
                image if is_image => {
                    shortened(&mask::masked(image, Kind::Text).unwrap_or_else(|| image.to_owned()))
                }
                _ => REDACTED.to_owned(),
            };
            changed.old = value(&field.old);
            changed.new = value(&field.new);
            self.fields.push(changed);
        }
        for object in objects.into_iter().flatten() {
            let path = shortened(&format!("{path}{}", object.name)) + ".";
            self.take(&path, object.fields, object.objects);
        }
    }
}

/// The text, or its beginning with dots where it is longer than it may be.
fn shortened(text: &str) -> String {
    const DOTS: &str = "...";
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES - DOTS.len());
    format!("{}{DOTS}", &text[..end])
}

#[cfg(test)]
mod tests;
