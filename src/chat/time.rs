//! The moment that a template may ask for with `strftime_now`. The engine has no clock: the caller brings the time.

use crate::{Error, Kind, Result};

/// A moment in somebody's time zone, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00 in the local zone, as if every minute had sixty seconds.
    local_seconds: i64,
}

const DAY: i64 = 86_400;
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Time {
    /// From seconds since the Unix epoch, and how many minutes local time is ahead of UTC.
    pub fn from_unix(seconds: i64, ahead_of_utc_minutes: i32) -> Result<Time> {
        // Years 1 to 9999, as Python's datetime: every format below then fits.
        let local_seconds = seconds.checked_add(i64::from(ahead_of_utc_minutes) * 60);
        match local_seconds {
            Some(local_seconds) if (-62_135_596_800..253_402_300_800).contains(&local_seconds) => {
                Ok(Time { local_seconds })
            }
            _ => Err(Error::new(
                Kind::InvalidArgument,
                format!("time: found {seconds} s after 1970, expected a moment in the years 1 to 9999"),
            )),
        }
    }

    /// Year, month 1 to 12, day 1 to 31 of the proleptic Gregorian calendar.
    ///
    /// Counted in years that begin in March, so that the leap day is the last of its year
    /// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
    fn date(self) -> (i64, i64, i64) {
        let days = self.local_seconds.div_euclid(DAY) + 719_468; // since 0000-03-01
        let era = days.div_euclid(146_097); // 400 years
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153; // 0 is March
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (era * 400 + year_of_era + i64::from(month <= 2), month, day)
    }

    /// C's `strftime` in the C locale, with the conversions that make sense without a zone name; an unknown one is
    /// printed as it stands. A `-` after the percent sign drops the leading zero.
    pub fn strftime(self, format: &str) -> String {
        let (year, month, day) = self.date();
        let weekday = (self.local_seconds.div_euclid(DAY) + 4).rem_euclid(7); // 0 is Sunday
        let seconds = self.local_seconds.rem_euclid(DAY);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][(month - 1) as usize];
        let day_of_year = before + day + i64::from(leap && month > 2);
        let hour12 = (hour + 11) % 12 + 1;

        let mut out = String::with_capacity(format.len() + 16);
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let spec = &rest[at + 1..];
            let (bare, spec) = match spec.strip_prefix('-') {
                Some(spec) => (true, spec),
                None => (false, spec),
            };
            let Some(letter) = spec.chars().next() else {
                out.push_str(&rest[at..]);
                return out;
            };
            let number = |value: i64, width: usize| {
                if bare {
                    format!("{value}")
                } else {
                    format!("{value:0width$}")
                }
            };
            let text = match letter {
                'Y' => number(year, 4),
                'y' => number(year.rem_euclid(100), 2),
                'm' => number(month, 2),
                'd' => number(day, 2),
                'e' if bare => number(day, 2),
                'e' => format!("{day:2}"),
                'H' => number(hour, 2),
                'I' => number(hour12, 2),
                'M' => number(minute, 2),
                'S' => number(second, 2),
                'f' => "000000".into(),
                'j' => number(day_of_year, 3),
                'u' => format!("{}", (weekday + 6) % 7 + 1),
                'w' => format!("{weekday}"),
                'p' => if hour < 12 { "AM" } else { "PM" }.into(),
                'A' => WEEKDAYS[weekday as usize].into(),
                'a' => WEEKDAYS[weekday as usize][..3].into(),
                'B' => MONTHS[(month - 1) as usize].into(),
                'b' | 'h' => MONTHS[(month - 1) as usize][..3].into(),
                'F' => self.strftime("%Y-%m-%d"),
                'T' | 'X' => self.strftime("%H:%M:%S"),
                'R' => self.strftime("%H:%M"),
                'D' | 'x' => self.strftime("%m/%d/%y"),
                'c' => self.strftime("%a %b %e %H:%M:%S %Y"),
                'Z' | 'z' => String::new(),
                'n' => "\n".into(),
                't' => "\t".into(),
                '%' => "%".into(),
                _ => rest[at..rest.len() - spec.len() + letter.len_utf8()].into(),
            };
            out.push_str(&text);
            rest = &spec[letter.len_utf8()..];
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts from Python's `datetime.strftime`.
    #[test]
    fn formats_as_python_does() {
        for (seconds, format, text) in [
            (1_773_500_966, "%Y-%m-%d %H:%M:%S", "2026-03-14 15:09:26"),
            (
                1_773_500_966,
                "%d %b %Y, %A %j %p %I %-d/%-m",
                "14 Mar 2026, Saturday 073 PM 03 14/3",
            ),
            (0, "%c", "Thu Jan  1 00:00:00 1970"),
            (951_782_400, "%F %a %j", "2000-02-29 Tue 060"),
            (4_107_542_399, "%F %T", "2100-02-28 23:59:59"),
            (-1, "%F %T %w %u", "1969-12-31 23:59:59 3 3"),
            (-2_208_988_800, "%F %y %e", "1900-01-01 00  1"),
            (0, "100%% %Q %", "100% %Q %"),
        ] {
            assert_eq!(Time::from_unix(seconds, 0).unwrap().strftime(format), text);
        }
        assert_eq!(
            Time::from_unix(0, -90).unwrap().strftime("%F %R"),
            "1969-12-31 22:30"
        );
        assert!(Time::from_unix(i64::MAX, 1).is_err());
    }
}
