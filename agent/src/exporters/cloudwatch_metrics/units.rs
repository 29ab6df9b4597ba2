//! OTLP's units (UCUM) as CloudWatch's, which has few: what it does not have is converted where
//! one factor does it, else it is `None`, and the metric's name must say it.

/// How values of a unit are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// CloudWatch's name.
    pub name: &'static str,
    /// What a value is multiplied with.
    pub factor: f64,
}

const KIBI: f64 = 1024.0;

/// UCUM's name, CloudWatch's, and the factor between.
const UNITS: [(&str, &str, f64); 27] = [
    ("s", "Seconds", 1.0),
    ("ms", "Milliseconds", 1.0),
    ("us", "Microseconds", 1.0),
    ("ns", "Microseconds", 1e-3),
    ("min", "Seconds", 60.0),
    ("h", "Seconds", 3600.0),
    ("d", "Seconds", 86_400.0),
    ("By", "Bytes", 1.0),
    ("kBy", "Kilobytes", 1.0),
    ("MBy", "Megabytes", 1.0),
    ("GBy", "Gigabytes", 1.0),
    ("TBy", "Terabytes", 1.0),
    ("KiBy", "Bytes", KIBI),
    ("MiBy", "Bytes", KIBI * KIBI),
    ("GiBy", "Bytes", KIBI * KIBI * KIBI),
    ("bit", "Bits", 1.0),
    ("kbit", "Kilobits", 1.0),
    ("Mbit", "Megabits", 1.0),
    ("Gbit", "Gigabits", 1.0),
    ("%", "Percent", 1.0),
    ("By/s", "Bytes/Second", 1.0),
    ("kBy/s", "Kilobytes/Second", 1.0),
    ("MBy/s", "Megabytes/Second", 1.0),
    ("bit/s", "Bits/Second", 1.0),
    ("Mbit/s", "Megabits/Second", 1.0),
    ("1/s", "Count/Second", 1.0),
    ("Hz", "Count/Second", 1.0),
];

impl Unit {
    /// The unit of a metric. `1` counts where sums are meant, and is a ratio elsewhere.
    pub fn of(ucum: &str, is_sum: bool) -> Self {
        if let Some((_, name, factor)) = UNITS.iter().find(|(known, ..)| *known == ucum) {
            return Self {
                name,
                factor: *factor,
            };
        }
        // In braces is what is counted: {request}, {request}/s.
        let annotated = ucum.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let name = match annotated.map(|(_, after)| after) {
            Some("") => "Count",
            Some("/s") => "Count/Second",
            None if ucum == "1" && is_sum => "Count",
            _ => "None",
        };
        Self { name, factor: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_cloudwatch() {
        for (ucum, is_sum, name, factor) in [
            ("s", false, "Seconds", 1.0),
            ("ns", false, "Microseconds", 0.001),
            ("MiBy", false, "Bytes", 1_048_576.0),
            ("{request}", true, "Count", 1.0),
            ("{request}/s", false, "Count/Second", 1.0),
            ("1", true, "Count", 1.0),
            ("1", false, "None", 1.0),
            ("Cel", false, "None", 1.0),
            ("{a", false, "None", 1.0),
            ("", false, "None", 1.0),
        ] {
            assert_eq!(Unit::of(ucum, is_sum), Unit { name, factor }, "{ucum}");
        }
    }
}
