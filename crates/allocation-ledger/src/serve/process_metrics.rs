//! Figures of the process, under the names that Prometheus's client libraries have for them.

use std::fs;

use chrono::{DateTime, Utc};
use command::Clock;
use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeValLike as _,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// Adds the figures to a registry. The process counts as started at this moment.
pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(ProcessFigures { started_at: Clock::system().now() }));
}

/// Reads the figures on each scrape. A figure that the system does not give is left out: memory and
/// open files are those of Linux, in `/proc`.
#[derive(Debug)]
struct ProcessFigures {
    started_at: DateTime<Utc>,
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        if let Some(seconds) = cpu_seconds() {
            let total = ConstCounter::new(seconds);
            let help = "Processor time of the process, user and system";
            total.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, total.metric_type())?)?;
        }
        let started_at = self.started_at.timestamp_micros() as f64 / 1e6;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
        let open_files_max = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _hard)| soft as f64);
        for (name, help, value) in [
            ("process_start_time_seconds", "Start of the process, in seconds since 1970", Some(started_at)),
            ("process_resident_memory_bytes", "Memory of the process that is in RAM", memory_bytes(&status, "VmRSS:")),
            ("process_virtual_memory_bytes", "Address space of the process", memory_bytes(&status, "VmSize:")),
            ("process_open_fds", "Open files and connections of the process", open_files),
            ("process_max_fds", "The most files and connections that the process may open", open_files_max),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

/// The processor time that the process has used.
fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(microseconds as f64 / 1e6)
}

/// A line of `/proc/self/status`, which is in kibibytes.
fn memory_bytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes as f64 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tledger\nVmSize:\t  204800 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(memory_bytes(status, "VmRSS:"), Some(1_048_576.0));
        assert_eq!(memory_bytes(status, "VmSize:"), Some(209_715_200.0));
        assert_eq!(memory_bytes(status, "VmSwap:"), None);
    }
}
