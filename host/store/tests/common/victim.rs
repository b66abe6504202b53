//! A process that is killed while it works on a database: at random moments, and at places with a name. It is this very
//! test program, told to run its test `child`, which says on its output what it has done.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

/// How many kills were asked for, or this many.
pub(crate) fn wanted(usually: u32) -> u32 {
    std::env::var("TRIGGERBOX_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(usually)
}

/// Kills processes, every second one at a named place, the others at a random moment.
pub(crate) struct Killer {
    /// Where processes die by name; each is as likely as any other.
    pub(crate) places: &'static [&'static str],
    /// At a named place a process dies at one of its first so many visits.
    pub(crate) visits: u64,
    /// At random it dies after one of its first so many reports,
    pub(crate) reports: u64,
    /// and so many microseconds at most.
    pub(crate) moment: u64,
    /// What a child is told besides.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Where a child notes how far it has come.
    pub(crate) trace: PathBuf,
    kills: u32,
    seed: u64,
    died: BTreeMap<String, u32>,
}

impl Killer {
    pub(crate) fn new(places: &'static [&'static str], visits: u64, reports: u64, moment: u64, trace: PathBuf) -> Self {
        let (settings, died) = (Vec::new(), BTreeMap::new());
        Self { places, visits, reports, moment, settings, trace, kills: 0, seed: 0x5EED, died }
    }

    /// Starts a process on a database and kills it. What it had reported, and how it died.
    pub(crate) fn kill(&mut self, database: &Path) -> (Vec<u32>, String) {
        let kill = self.kills as usize;
        self.kills += 1;
        let (how, reported) = if kill.is_multiple_of(2) {
            let place = self.places[kill / 2 % self.places.len()];
            let visit = 1 + self.random() % self.visits;
            ("at", self.kill_at(database, place, visit))
        } else {
            let mut victim = self.start(database, &[]);
            for _ in 0..=self.random() % self.reports {
                assert!(victim.hear(), "the child must live until it is killed");
            }
            std::thread::sleep(Duration::from_micros(self.random() % self.moment));
            victim.child.kill().unwrap();
            ("after", victim.last_words())
        };
        let place = std::fs::read_to_string(&self.trace).unwrap_or_default();
        let death = format!("{how} {}", place.trim_end());
        *self.died.entry(death.clone()).or_default() += 1;
        (reported, death)
    }

    /// Lets a process run into its death at a place. What it had reported.
    pub(crate) fn kill_at(&self, database: &Path, place: &str, visit: u64) -> Vec<u32> {
        let settings = [("TRIGGERBOX_FAILPOINT", place.to_owned()), ("TRIGGERBOX_FAILPOINT_AT", visit.to_string())];
        self.start(database, &settings).last_words()
    }

    /// How often processes died where; each named place at least once in so many kills.
    pub(crate) fn report(&self, result: &str) {
        // To the error output itself: what a test that passes prints is shown to nobody.
        let mut histogram = format!("{} kills, {result}; it died:\n", self.kills);
        for (place, times) in &self.died {
            histogram += &format!("  {times:>4}  {place}\n");
        }
        std::io::stderr().write_all(histogram.as_bytes()).unwrap();
        let each = self.kills / 2 / u32::try_from(self.places.len()).unwrap();
        for place in self.places {
            let times = self.died.get(&format!("at {place}")).copied().unwrap_or_default();
            assert!(times >= each, "it died only {times} times at {place}");
        }
    }

    fn start(&self, database: &Path, settings: &[(&str, String)]) -> Victim {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("TRIGGERBOX_KILL_CHILD", database)
            .env("TRIGGERBOX_FAILPOINT_TRACE", &self.trace)
            .envs(self.settings.iter().map(|(name, value)| (*name, value.as_str())))
            .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Victim { child, output, reported: Vec::new() }
    }

    /// A small generator: the same kills in each run, as far as the machine lets them fall on the same moments.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

struct Victim {
    child: Child,
    output: BufReader<ChildStdout>,
    reported: Vec<u32>,
}

impl Victim {
    /// Waits until the child has reported something more, `done 7`; false when it is dead.
    fn hear(&mut self) -> bool {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, number)) = line.split_once("done ") {
                self.reported.push(number.trim().parse().unwrap());
                return true;
            }
            line.clear();
        }
        false
    }

    /// All that it had reported, once it is dead.
    fn last_words(mut self) -> Vec<u32> {
        while self.hear() {}
        self.child.wait().unwrap();
        self.reported
    }
}
