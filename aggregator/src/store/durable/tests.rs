//! What a loss of power, a second writer and a failing disk may do to files: the order of the
//! steps is watched through the seam, on a real directory.

use std::fs::File;
use std::io;
use std::path::Path as FilePath;

use futures::TryStreamExt;
use object_store::{Error, ObjectStoreExt};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::files::Disk;
use super::*;

/// Notes every step; one kind of step can be made to fail.
#[derive(Debug, Clone, Default)]
struct Watched {
    steps: Arc<Mutex<Vec<String>>>,
    failing: Arc<Mutex<Option<&'static str>>>,
}

impl Watched {
    fn step(&self, step: &'static str, path: Option<&FilePath>) -> io::Result<()> {
        let name = path.and_then(FilePath::file_name).unwrap_or_default();
        let name = name.to_string_lossy();
        let name = name
            .split_once('#')
            .map_or(name.to_string(), |(name, _)| format!("{name}#"));
        self.steps
            .lock()
            .push(format!("{step} {name}").trim_end().to_owned());
        if *self.failing.lock() == Some(step) {
            return Err(io::Error::other("the disk is gone"));
        }
        Ok(())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.steps.lock())
    }
}

impl Disk for Watched {
    fn make_directories(&self, path: &FilePath) -> io::Result<()> {
        self.step("mkdir", Some(path))?;
        RealDisk.make_directories(path)
    }
    fn create(&self, path: &FilePath) -> io::Result<File> {
        self.step("create", Some(path))?;
        RealDisk.create(path)
    }
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.step("write", None)?;
        RealDisk.write(file, bytes, offset)
    }
    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.step("sync", None)?;
        RealDisk.sync_file(file)
    }
    fn link(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        self.step("link", Some(to))?;
        RealDisk.link(from, to)
    }
    fn rename(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        self.step("rename", Some(to))?;
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &FilePath) -> io::Result<()> {
        self.step("remove", Some(path))?;
        RealDisk.remove(path)
    }
    fn sync_directory(&self, path: &FilePath) -> io::Result<()> {
        self.step("sync directory", Some(path))?;
        RealDisk.sync_directory(path)
    }
}

struct Place {
    directory: TempDir,
    store: Durable,
    disk: Watched,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path().join("base");
        std::fs::create_dir(&base).expect("a directory");
        let disk = Watched::default();
        let store = Durable::on(Files::new(base, Box::new(disk.clone())));
        Self {
            directory,
            store,
            disk,
        }
    }

    fn path(&self, name: &str) -> Path {
        let file = self.directory.path().join("base").join(name);
        Path::from_absolute_path(file).expect("an absolute path")
    }

    async fn create(&self, name: &str, content: &'static str) -> Result<PutResult> {
        let options = PutOptions::from(PutMode::Create);
        self.store
            .put_opts(&self.path(name), content.into(), options)
            .await
    }

    async fn read(&self, name: &str) -> Bytes {
        let object = self.store.get(&self.path(name)).await.expect("it is there");
        object.bytes().await.expect("it can be read")
    }

    /// What is there for others, and what is there at all.
    async fn names(&self) -> (Vec<String>, Vec<String>) {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let listed = self.store.list(Some(&self.path("table")));
        let listed: Vec<_> = listed.try_collect().await.expect("it can be listed");
        let listed = listed.iter().map(|meta| name(meta.location.as_ref())).collect();
        let entries = std::fs::read_dir(self.directory.path().join("base/table"));
        let entries = entries.into_iter().flatten().flatten();
        let all = entries
            .map(|entry| name(&entry.file_name().to_string_lossy()))
            .collect();
        (listed, all)
    }
}

#[tokio::test]
async fn a_name_appears_after_its_content_is_on_the_disk_and_is_acknowledged_after_itself_is() {
    let place = Place::new();
    place.create("table/1.json", "one").await.expect("written");
    assert_eq!(
        place.disk.take(),
        [
            "create 1.json#",
            "mkdir table",
            "create 1.json#",
            "write",
            "sync",
            "sync directory base",
            "link 1.json",
            "remove 1.json#",
            "sync directory table",
        ]
    );
    place
        .store
        .put(&place.path("table/1.json"), "two".into())
        .await
        .expect("overwritten");
    assert_eq!(
        place.disk.take(),
        [
            "create 1.json#",
            "write",
            "sync",
            "rename 1.json",
            "sync directory table"
        ]
    );
    assert_eq!(place.read("table/1.json").await, "two");
}

#[tokio::test]
async fn an_upload_in_parts_appears_whole_when_it_is_complete() {
    let place = Place::new();
    let path = place.path("table/large");
    let mut upload = place.store.put_multipart(&path).await.expect("begun");
    let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
    second.await.expect("written");
    first.await.expect("written");
    assert_eq!(place.names().await.0, Vec::<String>::new());
    place.disk.take();
    upload.complete().await.expect("complete");
    assert_eq!(
        place.disk.take(),
        [
            "sync",
            "sync directory base",
            "rename large",
            "sync directory table"
        ]
    );
    assert_eq!(place.read("table/large").await, "one two");
    upload.complete().await.expect_err("it has ended");
    let mut upload = place.store.put_multipart(&path).await.expect("begun");
    upload.put_part("x".into()).await.expect("written");
    upload.abort().await.expect("aborted");
    drop(place.store.put_multipart(&path).await.expect("begun"));
    assert_eq!(place.names().await.1, ["large"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_of_a_new_name_one_wins_and_the_other_is_told() {
    let place = Place::new();
    for round in 0..50 {
        let name = format!("table/{round}");
        let (left, right) = tokio::join!(place.create(&name, "left"), place.create(&name, "right"));
        let (winner, lost) = match (left, right) {
            (Ok(_), Err(error)) => ("left", error),
            (Err(error), Ok(_)) => ("right", error),
            both => panic!("not one of them: {both:?}"),
        };
        assert!(matches!(lost, Error::AlreadyExists { .. }), "{lost}");
        assert_eq!(place.read(&name).await, winner);
    }
    let (listed, all) = place.names().await;
    assert_eq!((listed.len(), all.len()), (50, 50));
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_old_content_and_no_temporary_file() {
    let place = Place::new();
    place.create("table/kept", "old").await.expect("written");
    for step in ["write", "sync", "rename"] {
        *place.disk.failing.lock() = Some(step);
        let kept = place.path("table/kept");
        let put = place.store.put(&kept, "new".into()).await;
        let error = meridian_runtime::chain(&put.expect_err("the disk is gone"));
        assert!(error.contains("the disk is gone"), "{error}");
        assert_eq!(place.read("table/kept").await, "old");
    }
    for step in ["create", "write", "sync", "link"] {
        *place.disk.failing.lock() = Some(step);
        place
            .create("table/new", "new")
            .await
            .expect_err("the disk is gone");
    }
    assert_eq!(place.names().await.1, ["kept"]);
    *place.disk.failing.lock() = Some("sync directory");
    place
        .create("table/new", "new")
        .await
        .expect_err("what may vanish is not acknowledged");
}

#[tokio::test]
async fn a_file_that_is_being_written_is_listed_to_nobody() {
    let place = Place::new();
    let path = place.path("table/large");
    let upload = place.store.put_multipart(&path).await.expect("begun");
    let (listed, all) = place.names().await;
    assert_eq!((listed.len(), all.len()), (0, 1));
    let delimited = place.store.list_with_delimiter(Some(&place.path("table"))).await;
    assert_eq!(delimited.expect("it can be listed").objects.len(), 0);
    drop(upload);
    assert_eq!(place.names().await.1.len(), 0);
}

#[tokio::test]
async fn a_directory_that_vanished_is_made_and_synced_again() {
    let place = Place::new();
    place.create("table/1", "one").await.expect("written");
    std::fs::remove_dir_all(place.directory.path().join("base/table")).expect("removed");
    place.disk.take();
    place.create("table/1", "one").await.expect("written");
    assert!(place.disk.take().contains(&"sync directory base".to_owned()));
}
