//! What the kernel says of a process.

/// Memory and processor time of a process (proc(5)).
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Resident memory now, in KiB.
    pub(crate) resident: u32,
    /// The most there was.
    pub(crate) most: u32,
    /// Seconds of processor time, user and system.
    pub(crate) processor: f64,
    /// Threads.
    pub(crate) threads: u32,
}

impl Usage {
    /// Of a process, or of `self`.
    pub(crate) fn of(process: &str) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap();
        let (status, stat) = (read("status"), read("stat"));
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>().unwrap()).sum();
        Self {
            resident: number("VmRSS:"),
            most: number("VmHWM:"),
            processor: f64::from(ticks) / 100.0,
            threads: number("Threads:"),
        }
    }
}
