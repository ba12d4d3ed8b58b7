//! The store: one SQLite file. It is the journal too, since the desired state
//! is written before the kernel is touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kleene_engine::store::{Durability, Key, Record, StoreError, Write};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The schema of this version: one table per kind of object, each row an id
/// and the object as JSON. Entry *n* leads from schema *n* to *n* + 1.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE networks   (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT;
    CREATE TABLE containers (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT;
    CREATE TABLE endpoints  (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT;
    CREATE TABLE executions (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT;
    CREATE TABLE facts      (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE images     (id TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT;
",
];

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// SQLite says no.
    #[error("cannot {what} the store {}", path.display())]
    Sqlite {
        /// `open`, `read the version of`, …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        #[source]
        source: rusqlite::Error,
    },
    /// A later version of Kleene wrote it.
    #[error("the store {} has schema {found}, this version of kleened knows up to {known}: run the newer kleened, or put back the copy from before its migration", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// The copy before a migration cannot be made.
    #[error("cannot keep a copy of the store {} before its migration", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// The store of one daemon.
pub(crate) struct SqliteStore {
    connection: Connection,
}

impl SqliteStore {
    /// Opens the store, making or migrating it as needed.
    ///
    /// # Errors
    /// [`OpenError`]; a newer schema is refused and left as it is.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let wrap = |what| move |source| OpenError::Sqlite { what, path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(wrap("open"))?;
        let found: usize = connection
            .query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))
            .map_err(wrap("read the version of"))?
            .try_into()
            .unwrap_or(usize::MAX);
        if found > MIGRATIONS.len() {
            let known = MIGRATIONS.len();
            return Err(OpenError::Newer { path: path.to_owned(), found, known });
        }
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;")
            .map_err(wrap("set up"))?;
        if found > 0 && found < MIGRATIONS.len() {
            let copy = path.with_extension(format!("schema-{found}.sqlite"));
            connection
                .execute("VACUUM INTO ?1", [copy.to_string_lossy()])
                .map_err(|source| OpenError::Copy { path: path.to_owned(), source })?;
        }
        for (version, step) in MIGRATIONS.iter().enumerate().skip(found) {
            let script = format!("BEGIN; {step}; PRAGMA user_version = {}; COMMIT;", version + 1);
            connection.execute_batch(&script).map_err(wrap("migrate"))?;
        }
        Ok(Self { connection })
    }

    /// A fact beside the objects, such as the boot it was written in.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn fact(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.connection
            .query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0))
            .map(Some)
            .or_else(|err| match err {
                rusqlite::Error::QueryReturnedNoRows => Ok(None),
                other => Err(refused(format!("read fact '{name}'"), other)),
            })
    }

    /// Writes a fact.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn set_fact(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.connection
            .execute("INSERT OR REPLACE INTO facts VALUES (?1, ?2)", [name, value])
            .map(drop)
            .map_err(|err| refused(format!("write fact '{name}'"), err))
    }

    fn read<T: DeserializeOwned>(
        &self,
        table: &str,
        make: fn(Arc<T>) -> Record,
    ) -> Result<Vec<Record>, StoreError> {
        let wrap = |err| refused(format!("read table '{table}'"), err);
        let mut rows = self
            .connection
            .prepare(&format!("SELECT id, object FROM {table} ORDER BY id"))
            .map_err(wrap)?;
        let rows = rows
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .map_err(wrap)?;
        rows.map(|row| {
            let (id, object) = row.map_err(wrap)?;
            let object = serde_json::from_str(&object)
                .map_err(|err| refused(format!("read '{id}' of table '{table}'"), err))?;
            Ok(make(Arc::new(object)))
        })
        .collect()
    }
}

impl kleene_engine::Store for SqliteStore {
    fn load(&mut self) -> Result<Vec<Record>, StoreError> {
        let mut records = self.read("networks", Record::Network)?;
        records.extend(self.read("containers", Record::Container)?);
        records.extend(self.read("endpoints", Record::Endpoint)?);
        records.extend(self.read("executions", Record::Execution)?);
        records.extend(self.read("images", Record::Image)?);
        Ok(records)
    }

    fn write(&mut self, writes: &[Write], durability: Durability) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let begin = |err| refused("begin a transaction".to_owned(), err);
        // The level is the connection's; SQLite does not let it change inside
        // a transaction.
        let level = match durability {
            Durability::Process => "PRAGMA synchronous = NORMAL",
            Durability::Disk => "PRAGMA synchronous = FULL",
        };
        self.connection.execute_batch(level).map_err(begin)?;
        let transaction = self.connection.transaction().map_err(begin)?;
        for (key, record) in writes {
            let (table, id) = place(*key);
            let wrap = |err| refused(format!("write '{id}' of table '{table}'"), err);
            match record {
                Some(record) => {
                    let object = object(record)
                        .map_err(|err| refused(format!("write '{id}' of table '{table}'"), err))?;
                    transaction
                        .prepare_cached(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2)"))
                        .and_then(|mut statement| statement.execute([&id, &object]))
                        .map_err(wrap)?;
                }
                None => {
                    transaction
                        .prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))
                        .and_then(|mut statement| statement.execute([&id]))
                        .map_err(wrap)?;
                }
            }
        }
        transaction.commit().map_err(|err| refused("commit a transaction".to_owned(), err))
    }
}

fn refused(
    what: String,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError { what, source: source.into() }
}

fn place(key: Key) -> (&'static str, String) {
    match key {
        Key::Network(id) => ("networks", id.to_string()),
        Key::Container(id) => ("containers", id.to_string()),
        Key::Endpoint(id) => ("endpoints", id.to_string()),
        Key::Execution(id) => ("executions", id.to_string()),
        Key::Image(id) => ("images", id.to_string()),
    }
}

fn object(record: &Record) -> Result<String, serde_json::Error> {
    fn json<T: Serialize>(object: &Arc<T>) -> Result<String, serde_json::Error> {
        serde_json::to_string(&**object)
    }
    match record {
        Record::Network(network) => json(network),
        Record::Container(container) => json(container),
        Record::Endpoint(endpoint) => json(endpoint),
        Record::Execution(execution) => json(execution),
        Record::Image(image) => json(image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kleene_engine::Store as _;
    use kleene_model::{ExecId, Execution, ExecutionState, Image};

    fn execution(byte: u8) -> Arc<Execution> {
        Arc::new(Execution {
            id: ExecId::from_bytes([0xaa, 0, 0, 0, 0, byte]).expect("has letters"),
            container: kleene_model::ContainerId::from_bytes([0xab; 6]).expect("has letters"),
            cmd: vec!["true".into()],
            env: Vec::new(),
            user: String::new(),
            workdir: String::new(),
            tty: false,
            sequence: u64::from(byte),
            state: ExecutionState::Exited { code: 7, last: true },
        })
    }

    #[test]
    fn what_is_written_is_there_after_reopening() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("metadata.sqlite");
        let (one, two) = (execution(1), execution(2));
        let write = |e: &Arc<Execution>| (Key::Execution(e.id), Some(Record::Execution(e.clone())));
        let mut store = SqliteStore::open(&path).expect("a new store");
        store.write(&[write(&one), write(&two)], Durability::Disk).expect("a write");
        store.write(&[(Key::Execution(one.id), None)], Durability::Process).expect("a removal");
        store.set_fact("boot", "b").expect("a fact");
        drop(store);
        let mut store = SqliteStore::open(&path).expect("the same store");
        assert_eq!(store.load().expect("its records"), [Record::Execution(two)]);
        assert_eq!(store.fact("boot").expect("a fact").as_deref(), Some("b"));
        assert_eq!(store.fact("none").expect("no fact"), None);
    }

    #[test]
    fn an_older_store_is_migrated_and_a_copy_of_it_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("metadata.sqlite");
        let one = execution(1);
        let raw = Connection::open(&path).expect("a file");
        raw.execute_batch(MIGRATIONS[0]).expect("the first schema");
        let object = serde_json::to_string(&*one).expect("as JSON");
        let row = (one.id.to_string(), object);
        raw.execute("INSERT INTO executions VALUES (?1, ?2)", row).expect("a row");
        raw.execute_batch("PRAGMA user_version = 1").expect("its version");
        drop(raw);
        let mut store = SqliteStore::open(&path).expect("migrated");
        let id = kleene_model::ImageId::from_bytes([0xe0; 6]).expect("has letters");
        let image =
            Arc::new(Image::of_base_system(id, "2026-01-01".to_owned(), "pool/x".to_owned()));
        let write = (Key::Image(id), Some(Record::Image(image.clone())));
        store.write(&[write], Durability::Disk).expect("a write");
        drop(store);
        let mut store = SqliteStore::open(&path).expect("the same store");
        let records = store.load().expect("its records");
        assert_eq!(records, [Record::Execution(one.clone()), Record::Image(image)]);
        let copy = Connection::open(dir.path().join("metadata.schema-1.sqlite")).expect("a copy");
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            copy.query_row(&sql, [], |row| row.get::<_, u32>(0))
        };
        assert_eq!(count("executions"), Ok(1));
        count("images").expect_err("it is as it was before");
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("metadata.sqlite");
        drop(SqliteStore::open(&path).expect("the allowed twin"));
        let raw = Connection::open(&path).expect("the file");
        raw.execute_batch("PRAGMA user_version = 999").expect("a newer version");
        drop(raw);
        let err = SqliteStore::open(&path).err().expect("refused").to_string();
        assert!(err.contains("schema 999"), "{err}");
        let raw = Connection::open(&path).expect("the file");
        let version: u32 =
            raw.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("still there");
        assert_eq!(version, 999);
    }
}
