//! How long ago, in the words of 0.1.1.

use jiff::Timestamp;

/// `About a minute`, `3 hours`, … for so many seconds.
pub(crate) fn human(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Rounded to the nearest hour, all that is longer counts from there.
    let hours = (minutes + 30) / 60;
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        _ => human_days(hours),
    }
}

fn human_days(hours: i64) -> String {
    let days = hours / 24;
    if days < 14 {
        format!("{days} days")
    } else if days < 60 {
        format!("{} weeks", days / 7)
    } else if days < 365 * 2 {
        format!("{} months", days / 30)
    } else {
        format!("{} years", days / 365)
    }
}

/// `3 hours ago` for an RFC 3339 time; the text itself when it is none.
pub(crate) fn ago(created: &str, now: Timestamp) -> String {
    match created.parse::<Timestamp>() {
        Ok(then) => format!("{} ago", human(now.as_second() - then.as_second())),
        Err(_) => created.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_words() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        for (seconds, words) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (MINUTE, "About a minute"),
            (2 * MINUTE, "2 minutes"),
            (59 * MINUTE, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 29 * MINUTE, "About an hour"),
            (HOUR + 30 * MINUTE, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(human(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_time_is_counted_from_now() {
        let now: Timestamp = "2026-11-24T13:00:30Z".parse().unwrap();
        assert_eq!(ago("2026-11-24T13:00:00.000001Z", now), "30 seconds ago");
        assert_eq!(ago("yesterday", now), "yesterday");
    }
}
