//! What the kernel says of a process.

use std::io;

/// CPU and memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU seconds, user and system.
    pub(crate) cpu: f64,
    /// Resident bytes now.
    pub(crate) rss: u64,
    /// Most resident bytes so far.
    pub(crate) peak_rss: u64,
}

impl Usage {
    /// Reads them (proc(5)).
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or_default()
        };
        Ok(Self { cpu: cpu(pid)?, rss: kib("VmRSS:") * 1024, peak_rss: kib("VmHWM:") * 1024 })
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn cpu(pid: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Fields 14 and 15, counted after the name, which may itself hold spaces.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // A hundredth of a second each on Linux, whatever the kernel's own clock (times(2), USER_HZ).
    Ok(ticks as f64 / 100.0)
}
