//! Samples, what they come to, and how that is shown.

use std::fmt::Write as _;
use std::time::Duration;

/// How long something took, several times, or how often it could be done.
pub struct Samples {
    /// What was timed.
    pub what: String,
    numbers: Vec<f64>,
}

impl Samples {
    /// None yet.
    pub fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), numbers: Vec::new() }
    }

    /// Adds a time, in milliseconds.
    pub fn push(&mut self, time: Duration) {
        self.numbers.push(time.as_secs_f64() * 1000.0);
    }

    /// Adds what is no time.
    pub fn push_number(&mut self, number: f64) {
        self.numbers.push(number);
    }

    /// Some of them, by their position in time.
    pub fn part(&self, what: impl Into<String>, range: std::ops::Range<usize>) -> Self {
        Self { what: what.into(), numbers: self.numbers.get(range).unwrap_or_default().to_vec() }
    }

    /// The first and the last tenth.
    pub fn ends(&self) -> [Self; 2] {
        let (count, tenth) = (self.len(), self.len().div_ceil(10));
        [
            self.part(format!("{}, the first {tenth}", self.what), 0..tenth),
            self.part(format!("{}, the last {tenth} of {count}", self.what), count - tenth..count),
        ]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The one in the middle; of an even number, the mean of the two.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            even if even % 2 == 0 => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
            odd => sorted[odd / 2],
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.numbers.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// All that a run has found.
#[derive(Default)]
pub struct Table {
    text: String,
    missed: u32,
}

impl Table {
    /// Starts a group of rows.
    pub fn title(&mut self, title: &str) {
        let _ = writeln!(self.text, "\n{title:<52}{:>5}{:>10}{:>10}{:>10}", "n", "min", "median", "max");
    }

    /// Shows samples, in milliseconds if they are times.
    pub fn row(&mut self, samples: &Samples) {
        let sorted = samples.sorted();
        let (min, max) = (sorted.first().unwrap_or(&f64::NAN), sorted.last().unwrap_or(&f64::NAN));
        let (what, n, median) = (&samples.what, samples.len(), samples.median());
        let _ = writeln!(self.text, "  {what:<50}{n:>5}{min:>10.3}{median:>10.3}{max:>10.3}");
    }

    /// Shows two rows and the ratio of their medians, which should be at most `goal`.
    pub fn compare(&mut self, ours: &Samples, floor: &Samples, goal: f64) {
        self.row(ours);
        self.row(floor);
        let ratio = ours.median() / floor.median();
        let met = ratio <= goal;
        self.missed += u32::from(!met);
        let verdict = if met { "met" } else { "MISSED" };
        let _ = writeln!(self.text, "    ratio of medians {ratio:.2}, goal at most {goal:.2}: {verdict}");
    }

    /// Shows two rows and how many times as fast ours is by the medians, which should be at least `goal`.
    pub fn times(&mut self, ours: &Samples, theirs: &Samples, goal: f64) {
        self.row(ours);
        self.row(theirs);
        let times = theirs.median() / ours.median();
        let met = times >= goal;
        self.missed += u32::from(!met);
        let verdict = if met { "met" } else { "MISSED" };
        let _ = writeln!(self.text, "    {times:.1} times as fast, goal at least {goal:.0}: {verdict}");
    }

    /// Shows two rows and how many times as much ours is by the medians, which should be at least `goal` if there is one.
    pub fn more(&mut self, ours: &Samples, theirs: &Samples, goal: Option<f64>) {
        self.row(ours);
        self.row(theirs);
        let times = ours.median() / theirs.median();
        let verdict = match goal {
            None => String::new(),
            Some(goal) if times >= goal => format!(", goal at least {goal:.1}: met"),
            Some(goal) => {
                self.missed += 1;
                format!(", goal at least {goal:.1}: MISSED")
            }
        };
        let _ = writeln!(self.text, "    {times:.2} times as many{verdict}");
    }

    /// The whole text, in milliseconds.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many goals were missed.
    pub fn missed(&self) -> u32 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(what: &str, milliseconds: &[u64]) -> Samples {
        let mut samples = Samples::of(what);
        milliseconds.iter().for_each(|&time| samples.push(Duration::from_millis(time)));
        samples
    }

    #[test]
    fn medians_and_goals() {
        assert!((samples("a", &[9, 1, 2]).median() - 2.0).abs() < 1e-9);
        assert!((samples("a", &[9, 1, 2, 4]).median() - 3.0).abs() < 1e-9);
        let mut table = Table::default();
        table.compare(&samples("ours", &[1]), &samples("floor", &[2]), 0.8);
        assert_eq!(table.missed(), 0);
        table.compare(&samples("ours", &[2]), &samples("floor", &[2]), 0.8);
        assert_eq!(table.missed(), 1);
        table.compare(&samples("ours", &[]), &samples("floor", &[2]), 0.8);
        assert_eq!(table.missed(), 2, "no sample meets no goal");
        table.times(&samples("ours", &[1]), &samples("theirs", &[19]), 20.0);
        assert_eq!(table.missed(), 3);
        table.times(&samples("ours", &[1]), &samples("theirs", &[21]), 20.0);
        assert_eq!(table.missed(), 3);
        table.more(&samples("ours", &[14]), &samples("theirs", &[10]), Some(1.5));
        assert_eq!(table.missed(), 4);
        table.more(&samples("ours", &[15]), &samples("theirs", &[10]), Some(1.5));
        table.more(&samples("ours", &[5]), &samples("theirs", &[10]), None);
        assert_eq!(table.missed(), 4);
        assert!(table.text().contains("ratio of medians 0.50, goal at most 0.80: met"));
    }

    #[test]
    fn parts_are_taken_in_time() {
        assert!((samples("a", &[1, 2, 9]).part("b", 1..3).median() - 5.5).abs() < 1e-9);
        assert_eq!(samples("a", &[1]).part("b", 0..5).len(), 0);
    }
}
