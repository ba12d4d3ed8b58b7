//! Exits that happened while nobody listened: one JSON line each in the run
//! directory's `exits`, until they are acknowledged.

use crate::proto::ExitRecord;

/// The file's name in the run directory.
pub const FILE: &str = "exits";

/// Reads an exits file. A line that is torn (power loss) or of no known form
/// is skipped, whatever surrounds it.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<ExitRecord> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .filter(|record| *record != ExitRecord::Unknown)
        .collect()
}

/// One line of the file, newline included.
///
/// # Errors
///
/// Never for the records of this version; serialisation is fallible by type.
pub fn line(record: &ExitRecord) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_torn_ones_do_not_hurt() {
        let records = [
            ExitRecord::Exec { seq: 1, exec: "a".into(), code: 7, last: false, at_us: 5 },
            ExitRecord::Ended { seq: 2, at_us: 6 },
        ];
        let mut bytes: Vec<u8> = records.iter().flat_map(|r| line(r).unwrap()).collect();
        assert_eq!(read(&bytes), records);
        bytes.extend_from_slice(b"{\"event\":\"Later\",\"seq\":9}\nnoise\xff\n{\"event\":\"En");
        assert_eq!(read(&bytes), records);
        assert_eq!(read(b""), []);
    }
}
