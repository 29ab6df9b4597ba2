//! What two writers of one log, of one release or of two, may do to each other, on an object store
//! in memory.

use chrono::NaiveDate;
use meridian_proto::ids::AgentId;
use object_store::memory::InMemory;
use url::Url;

use super::*;
use crate::store::hot::Lane;
use crate::store::location::Location;
use crate::store::new_file::{Directory, NewFile};

struct Place {
    location: Location,
    directory: Directory,
}

impl Place {
    fn new() -> Self {
        let url = Url::parse("memory:///store").expect("a URL");
        let location = Location::on(&url, Arc::new(InMemory::new())).expect("a place");
        let directory = Directory {
            objects: Arc::clone(location.root()),
            path: location.path("spans"),
            signal: Signal::Spans,
            clock: meridian_runtime::clock::Clock::system(),
        };
        Self { location, directory }
    }

    async fn log(&self) -> TableLog {
        let log_store = self.location.log_store("spans").expect("a log");
        TableLog::open(Signal::Spans, log_store, self.directory.path.clone())
            .await
            .expect("it opens")
    }

    fn file(&self) -> NewFile {
        let name = self.directory.name(NaiveDate::MIN, "eu");
        let stats = FileStats {
            rows: 1,
            ..FileStats::default()
        };
        self.directory.new_file(name, 1, &stats, true)
    }
}

fn lane(number: u8) -> LaneKey {
    LaneKey {
        agent: AgentId::from_slice(&[number; 16]).expect("16 bytes"),
        lane: Lane::Live,
    }
}

async fn merge(
    log: &mut TableLog,
    removed: &[Arc<DataFile>],
    added: &NewFile,
) -> Result<bool, DeltaTableError> {
    let replacement = Replacement {
        removed,
        added: std::slice::from_ref(&added.add),
        reason: Reason::Merge { file_bytes: 1 },
    };
    log.replace(replacement).await
}

#[tokio::test]
async fn of_two_merges_of_the_same_files_one_wins_and_the_other_changes_nothing() {
    let place = Place::new();
    let (mut first, mut second) = (place.log().await, place.log().await);
    let files = [place.file(), place.file()];
    let adds = files.iter().map(|new| new.add.clone()).collect();
    first.append(adds, &[(lane(1), 7)]).await.expect("appended");
    second.refresh().await.expect("refreshed");
    let removed = first.files(&[]).await.expect("files");
    let (one, two) = (place.file(), place.file());
    assert!(merge(&mut first, &removed, &one).await.expect("the first wins"));
    let error = merge(&mut second, &removed, &two)
        .await
        .expect_err("the second does not know it yet");
    assert_eq!(outcome(&error), Outcome::Refused);
    second.refresh().await.expect("refreshed");
    assert!(!merge(&mut second, &removed, &two).await.expect("it gives up"));
    let left = second.files(&removed).await.expect("files");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].path, one.file.path);
    assert_eq!(second.committed(&[lane(1)]).await.expect("read"), [(lane(1), 7)]);
}

#[tokio::test]
async fn an_append_beside_a_merge_of_another_writer_succeeds() {
    let place = Place::new();
    let (mut first, mut second) = (place.log().await, place.log().await);
    let old = place.file();
    first
        .append(vec![old.add.clone()], &[(lane(1), 1)])
        .await
        .expect("appended");
    second.refresh().await.expect("refreshed");
    let removed = first.files(&[]).await.expect("files");
    assert!(merge(&mut first, &removed, &place.file()).await.expect("merged"));
    second
        .append(vec![place.file().add], &[(lane(2), 2)])
        .await
        .expect("appended beside it");
    assert_eq!(second.files(&[]).await.expect("files").len(), 2);
    assert_eq!(second.version(), 3);
}

#[tokio::test]
async fn what_retention_removed_is_known_to_who_opens_the_table_later() {
    let place = Place::new();
    let mut log = place.log().await;
    log.append(vec![place.file().add], &[(lane(1), 1)])
        .await
        .expect("appended");
    let removed = log.files(&[]).await.expect("files");
    let replacement = Replacement {
        removed: &removed,
        added: &[],
        reason: Reason::Retention { removed_to: 42 },
    };
    assert!(log.replace(replacement).await.expect("removed"));
    let log = place.log().await;
    assert_eq!(log.removed_to().await.expect("read"), Some(42));
    assert_eq!(log.committed(&[lane(1)]).await.expect("read"), [(lane(1), 1)]);
    assert!(log.files(&[]).await.expect("files").is_empty());
}

#[tokio::test]
async fn committed_sequences_survive_checkpoints_and_a_clean_log() {
    let place = Place::new();
    let mut log = place.log().await;
    for seq in 1..=60 {
        let seqs = [(lane(1), seq), (lane(u8::try_from(seq).expect("small")), seq)];
        log.append(vec![place.file().add], &seqs[..1 + usize::from(seq > 1)])
            .await
            .expect("appended");
    }
    let later = meridian_runtime::clock::Clock::system().now_unix_nanos() + 1_000_000_000;
    let cleaned = log.clean(Duration::ZERO, later).await.expect("cleaned");
    assert!(cleaned > 40, "{cleaned} entries are gone");
    for log in [&log, &place.log().await] {
        assert_eq!(log.files(&[]).await.expect("files").len(), 60);
        let lanes = [lane(1), lane(2), lane(60)];
        let committed = log.committed(&lanes).await.expect("read");
        assert_eq!(
            committed.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(),
            [60, 2, 60]
        );
    }
}

#[tokio::test]
async fn a_log_that_another_writer_cleaned_is_read_anew_after_a_failure() {
    let place = Place::new();
    let (mut first, mut second) = (place.log().await, place.log().await);
    for seq in 1..=60 {
        first
            .append(vec![place.file().add], &[(lane(1), seq)])
            .await
            .expect("appended");
    }
    let later = meridian_runtime::clock::Clock::system().now_unix_nanos() + 1_000_000_000;
    first.clean(Duration::ZERO, later).await.expect("cleaned");
    second.suspect();
    second.refresh().await.expect("read anew");
    assert_eq!(second.version(), 60);
    assert_eq!(second.committed(&[lane(1)]).await.expect("read"), [(lane(1), 60)]);
    assert_eq!(second.files(&[]).await.expect("files").len(), 60);
}

#[tokio::test]
async fn a_table_of_an_earlier_release_gets_the_columns_that_it_lacks_and_keeps_its_files() {
    let place = Place::new();
    let mut columns = columns::of_table(Signal::Spans).expect("columns");
    columns.retain(|column| !["url_path", "thread_id"].contains(&column.name().as_str()));
    let (log_store, _) = place.location.log_store("spans").expect("a log");
    CreateBuilder::new()
        .with_log_store(Arc::clone(&log_store))
        .with_columns(columns)
        .with_partition_columns(PARTITION_COLUMNS)
        .await
        .expect("an older table");
    let mut table = DeltaTable::new(log_store);
    table.load().await.expect("it loads");
    let add = Action::Add(place.file().add);
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: None,
        predicate: None,
    };
    let snapshot = table.snapshot().expect("a snapshot").snapshot();
    CommitBuilder::default()
        .with_actions(vec![add])
        .build(Some(snapshot), table.log_store(), operation)
        .await
        .expect("committed");

    let (first, second) = tokio::join!(place.log(), place.log());
    for mut log in [first, second] {
        log.refresh().await.expect("refreshed");
        let schema = log.table.snapshot().expect("a snapshot").schema();
        for column in columns::of_table(Signal::Spans).expect("columns") {
            assert!(
                schema.field(column.name()).is_some(),
                "{} is missing",
                column.name()
            );
        }
        assert_eq!(log.files(&[]).await.expect("files").len(), 1);
    }
    let version = place.log().await.version();
    assert_eq!(place.log().await.version(), version, "nothing is added twice");
}

impl Place {
    /// A log of so many commits with a file each.
    async fn log_of(&self, commits: u64) -> TableLog {
        let mut log = self.log().await;
        for seq in 1..=commits {
            log.append(vec![self.file().add], &[(lane(1), seq)])
                .await
                .expect("appended");
        }
        log
    }

    async fn damage(&self, name: &str, bytes: &'static [u8]) {
        let path = self.directory.path.clone().join("_delta_log").join(name);
        let objects = &self.directory.objects;
        objects.put(&path, bytes.into()).await.expect("damaged");
    }
}

#[tokio::test]
async fn a_damaged_entry_costs_what_it_added_and_nothing_is_built_on_its_absence() {
    let place = Place::new();
    place.log_of(8).await;
    let cut = b"{\"add\":{\"path\":\"date=";
    place.damage("00000000000000000007.json", cut).await;
    let mut log = place.log().await;
    assert_eq!(log.files(&[]).await.expect("files").len(), 7);
    let damaged = log.salvage.damaged_entries();
    assert!(
        matches!(&damaged[..], [(path, _)] if path.filename() == Some("00000000000000000007.json")),
        "{damaged:?}"
    );
    for seq in 9..=13 {
        log.append(vec![place.file().add], &[(lane(1), seq)])
            .await
            .expect("the log goes on");
    }
    let later = meridian_runtime::clock::Clock::system().now_unix_nanos() + 1_000_000_000;
    assert_eq!(log.clean(Duration::ZERO, later).await.expect("asked"), 0);
    let log = place.log().await;
    assert_eq!(log.files(&[]).await.expect("files").len(), 12);
    assert_eq!(log.committed(&[lane(1)]).await.expect("read"), [(lane(1), 13)]);
    assert!(log.salvage.is_lossy(), "no checkpoint hides the damage");
}

#[tokio::test]
async fn a_damaged_checkpoint_costs_nothing_even_after_a_cleaning() {
    let place = Place::new();
    let mut log = place.log_of(12).await;
    let later = meridian_runtime::clock::Clock::system().now_unix_nanos() + 1_000_000_000;
    assert!(log.clean(Duration::ZERO, later).await.expect("cleaned") > 0);
    let name = "00000000000000000010.checkpoint.parquet";
    place.damage(name, b"PAR1 nothing of it PAR1").await;
    let log = place.log().await;
    assert_eq!(log.files(&[]).await.expect("files").len(), 12);
    assert_eq!(log.committed(&[lane(1)]).await.expect("read"), [(lane(1), 12)]);
    assert_eq!(log.salvage.damaged_checkpoints().len(), 1);
    assert!(!log.salvage.is_lossy());
}
