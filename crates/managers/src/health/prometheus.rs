//! The text that a Prometheus server scrapes. Source: "Text-based format" in "Exposition formats" of its documentation.

use std::fmt::Write as _;

use super::Health;
use crate::trace::look::{Filled, Look, Seen};

struct Page(String);

impl Page {
    /// A gauge, with its values by label. Nothing where there are none.
    fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (of, value) in values {
            let _ = match label {
                "" => writeln!(self.0, "{name} {value}"),
                label => writeln!(self.0, "{name}{{{label}=\"{}\"}} {value}", escaped(of)),
            };
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[expect(clippy::cast_precision_loss, reason = "seconds and small counts")]
fn number(value: i64) -> f64 {
    value as f64
}

fn count(of: usize) -> f64 {
    number(i64::try_from(of).unwrap_or(i64::MAX))
}

fn percent(of: u64) -> f64 {
    f64::from(u32::try_from(of).unwrap_or_default()) / 100.0
}

fn ratio(used: Filled) -> f64 {
    percent(used.percent())
}

impl Health {
    /// The whole page.
    pub fn prometheus(&self) -> String {
        let mut page = Page(String::new());
        let one = |value: f64| [("", value)];
        page.gauge("phoenix_health_ok", "Whether nothing is wrong.", "", one(flag(self.ok())));
        page.gauge(
            "phoenix_health_duration_seconds",
            "How long it took to find out.",
            "",
            one(self.took.as_secs_f64()),
        );
        self.guests(&mut page);
        let services = || self.services.iter();
        page.gauge(
            "phoenix_service_up",
            "Whether the service answers as it should.",
            "service",
            services().map(|s| (s.name.as_str(), flag(s.answer.is_ok()))),
        );
        page.gauge(
            "phoenix_service_answer_seconds",
            "How long the service took to answer.",
            "service",
            services().filter(|s| s.answer.is_ok()).map(|s| (s.name.as_str(), s.took.as_secs_f64())),
        );
        let certificates = || self.certificates.iter();
        page.gauge(
            "phoenix_certificate_expiry_timestamp_seconds",
            "When the certificate ends.",
            "certificate",
            certificates().filter_map(|c| Some((c.name.as_str(), number(c.ends?.as_second())))),
        );
        page.gauge(
            "phoenix_certificate_served_same",
            "Whether the certificate that is served is the one on disk.",
            "certificate",
            certificates().filter_map(|c| Some((c.name.as_str(), flag(c.same?)))),
        );
        page.gauge(
            "phoenix_certificate_renewal_failures",
            "How often in a row the certificate could not be renewed.",
            "certificate",
            certificates().filter_map(|c| Some((c.name.as_str(), f64::from(c.failures?)))),
        );
        let up = |part: &super::Part| flag(part.answer.is_ok());
        page.gauge(
            "phoenix_authority_up",
            "Whether the certificate authority answers.",
            "guest",
            self.authority.iter().map(|p| (p.on.as_str(), up(p))),
        );
        page.gauge(
            "phoenix_names_up",
            "Whether the name server answers.",
            "guest",
            self.names.iter().map(|p| (p.on.as_str(), up(p))),
        );
        page.gauge(
            "phoenix_firewall_missing_rules",
            "How many flows have no rule.",
            "guest",
            self.firewall.iter().map(|r| (r.guest.as_str(), count(r.missing))),
        );
        page.gauge(
            "phoenix_node_units_down",
            "How many units that features keep running on the node do not run.",
            "",
            self.node.iter().map(|node| ("", count(node.units - node.running))),
        );
        page.gauge(
            "phoenix_storage_used_ratio",
            "How full the storage is, on the node where it is the fullest.",
            "storage",
            self.storages.iter().filter_map(|s| Some((s.name.as_str(), percent(s.percent?)))),
        );
        let pools = || self.pools.iter();
        page.gauge(
            "phoenix_pool_up",
            "Whether the pool is imported and all its disks are well.",
            "pool",
            pools().map(|p| (p.name.as_str(), flag(p.state == "ONLINE"))),
        );
        page.gauge(
            "phoenix_pool_used_ratio",
            "How full the pool is.",
            "pool",
            pools().map(|p| (p.name.as_str(), percent(p.percent))),
        );
        page.gauge(
            "phoenix_pool_days_since_scrub",
            "How many days ago the pool was last read and compared.",
            "pool",
            pools().filter_map(|p| Some((p.name.as_str(), number(p.scrubbed?)))),
        );
        page.0
    }

    fn guests(&self, page: &mut Page) {
        let all = || self.guests.iter();
        let up = |look: &Look| !matches!(look, Look::Missing | Look::Stopped | Look::Hangs);
        page.gauge(
            "phoenix_guest_up",
            "Whether the guest runs and answers.",
            "guest",
            all().map(|g| (g.name.as_str(), flag(up(&g.look)))),
        );
        let seen = |of: fn(&Seen) -> Option<f64>| {
            all().filter_map(move |g| Some((g.name.as_str(), of(g.look.seen()?)?))).collect::<Vec<_>>()
        };
        let answered =
            all().filter(|g| g.look.seen().is_some()).map(|g| (g.name.as_str(), g.answered.as_secs_f64()));
        page.gauge(
            "phoenix_guest_answer_seconds",
            "How long a command in the guest took.",
            "guest",
            answered,
        );
        page.gauge(
            "phoenix_guest_uptime_seconds",
            "For how long the guest has been up.",
            "guest",
            seen(|s| Some(s.up.as_secs_f64())),
        );
        page.gauge(
            "phoenix_guest_clock_offset_seconds",
            "How far the guest's clock is ahead.",
            "guest",
            seen(|s| Some(s.clock?.ahead)),
        );
        page.gauge(
            "phoenix_guest_disk_used_ratio",
            "How full the guest's disk is.",
            "guest",
            seen(|s| s.disk.map(ratio)),
        );
        page.gauge(
            "phoenix_guest_memory_used_ratio",
            "How much of the guest's memory is used.",
            "guest",
            seen(|s| s.memory.map(ratio)),
        );
        page.gauge(
            "phoenix_guest_failed_units",
            "How many units of systemd's failed in the guest.",
            "guest",
            seen(|s| u32::try_from(s.units.iter().filter(|u| u.failed()).count()).ok().map(f64::from)),
        );
        page.gauge(
            "phoenix_guest_updates_timestamp_seconds",
            "When the guest last installed security updates.",
            "guest",
            seen(|s| Some(number(s.updates.as_ref()?.done?.as_second()))),
        );
        page.gauge(
            "phoenix_guest_updates_waiting",
            "How many security updates could not be installed.",
            "guest",
            seen(|s| Some(f64::from(s.updates.as_ref()?.waiting))),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::super::{Certificate, Guest, Health, Node, Part, Rules, Service, Trouble};
    use super::*;
    use crate::trace::look::Clock;

    /// Holds a page against the format: every line is help, type or a sample, names are names, values are numbers, each
    /// metric is described once and before its samples, and no sample is there twice.
    fn valid(page: &str) -> Result<usize, String> {
        let name = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let (mut described, mut samples, mut current) = (BTreeSet::new(), BTreeSet::new(), String::new());
        if !page.ends_with('\n') {
            return Err("the last line has no end".into());
        }
        for line in page.lines() {
            let bad = || format!("`{line}`");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (metric, help) = rest.split_once(' ').ok_or_else(bad)?;
                if !name(metric) || help.is_empty() || !described.insert(metric.to_owned()) {
                    return Err(bad());
                }
                current = metric.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                if rest != format!("{current} gauge") {
                    return Err(bad());
                }
            } else {
                let (series, value) = line.rsplit_once(' ').ok_or_else(bad)?;
                value.parse::<f64>().map_err(|_| bad())?;
                let metric = series.split('{').next().unwrap_or_default();
                let labels = &series[metric.len()..];
                let sound = labels.is_empty()
                    || labels
                        .strip_prefix('{')
                        .and_then(|l| l.strip_suffix("\"}"))
                        .and_then(|l| l.split_once("=\""))
                        .is_some_and(|(label, of)| {
                            let mut rest = of.chars();
                            let mut fine = name(label);
                            while let Some(c) = rest.next() {
                                fine &= c != '"'
                                    && c != '\n'
                                    && (c != '\\' || rest.next().is_some_and(|c| "\\\"n".contains(c)));
                            }
                            fine
                        });
                if metric != current || !sound || !samples.insert(series.to_owned()) {
                    return Err(bad());
                }
            }
        }
        Ok(samples.len())
    }

    fn health() -> Health {
        let trouble = || Trouble::new("trace::refused", "text", "hint");
        let seen = Seen {
            clock: Some(Clock { ahead: -0.25, give_or_take: 0.1 }),
            up: Duration::from_secs(90),
            disk: Some(Filled { all: 100, left: 75 }),
            ..Seen::default()
        };
        let guest = |name: &str, look| Guest {
            name: name.into(),
            look,
            answered: Duration::from_millis(250),
            trouble: None,
        };
        Health {
            at: Timestamp::UNIX_EPOCH,
            took: Duration::from_millis(1500),
            guests: vec![guest("notes", Look::Seen(Box::new(seen))), guest("od\"d\\", Look::Stopped)],
            services: vec![
                Service {
                    name: "notes".into(),
                    answer: Ok("answers 200".into()),
                    took: Duration::from_millis(12),
                },
                Service { name: "status".into(), answer: Err(trouble()), took: Duration::ZERO },
            ],
            certificates: vec![Certificate {
                name: "notes".into(),
                ends: Some(Timestamp::from_second(1_800_000_000).unwrap()),
                same: Some(true),
                failures: None,
                seen: String::new(),
                trouble: None,
            }],
            authority: None,
            names: Some(Part { on: "dns".into(), answer: Err(trouble()) }),
            firewall: vec![Rules { guest: "notes".into(), missing: 2, seen: String::new(), trouble: None }],
            node: Some(Node { running: 2, units: 3, trouble: Some(trouble()) }),
            storages: Vec::new(),
            pools: Vec::new(),
        }
    }

    #[test]
    fn the_page_is_what_prometheus_reads() {
        let page = health().prometheus();
        assert_eq!(valid(&page), Ok(17), "{page}");
        for line in [
            "phoenix_node_units_down 1",
            "# TYPE phoenix_guest_up gauge",
            "phoenix_guest_up{guest=\"notes\"} 1",
            "phoenix_guest_up{guest=\"od\\\"d\\\\\"} 0",
            "phoenix_guest_disk_used_ratio{guest=\"notes\"} 0.25",
            "phoenix_guest_clock_offset_seconds{guest=\"notes\"} -0.25",
            "phoenix_service_up{service=\"status\"} 0",
            "phoenix_certificate_expiry_timestamp_seconds{certificate=\"notes\"} 1800000000",
            "phoenix_names_up{guest=\"dns\"} 0",
            "phoenix_firewall_missing_rules{guest=\"notes\"} 2",
            "phoenix_health_ok 0",
        ] {
            assert!(page.lines().any(|l| l == line), "no `{line}` in\n{page}");
        }
        // What is not known is not there.
        assert!(!page.contains("phoenix_authority_up") && !page.contains("memory"), "{page}");
    }

    #[test]
    fn what_is_no_page_is_told() {
        for bad in [
            "x 1",
            "x 1\n",
            "# HELP x y\n# TYPE x counter\n",
            "# HELP x y\n# TYPE x gauge\nx{a=\"b\"c\"} 1\n",
        ] {
            assert!(valid(bad).is_err(), "{bad}");
        }
    }
}
