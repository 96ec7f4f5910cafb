//! Metrics as plain values, and writing them.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text::encode},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{
    amounts::{Amounts, seconds},
    label::Labels,
    text::{self, Format},
};

type NoLabels = [(&'static str, &'static str); 0];

/// The value of one series.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a counter of seconds.
    CountSeconds(f64),
    /// Of a gauge.
    Now(u64),
    /// Of a gauge.
    NowFloat(f64),
    /// Finished waits, with every so manyth bucket.
    Waits(Box<Amounts>, usize),
    /// Labels that say it all.
    Info,
}

/// A metric with all its series.
#[derive(Clone, Debug)]
pub struct Family {
    /// Name without its unit and without `_total`.
    pub name: &'static str,
    /// One sentence without its full stop.
    pub help: &'static str,
    /// Unit, the last part of the name.
    pub unit: Option<Unit>,
    /// Labels and value of each.
    pub series: Vec<(Labels, Value)>,
}

impl Family {
    fn metric_type(&self) -> MetricType {
        match self.series.first() {
            Some((_, Value::Count(_) | Value::CountSeconds(_))) => MetricType::Counter,
            Some((_, Value::Waits(..))) => MetricType::Histogram,
            Some((_, Value::Info)) => MetricType::Info,
            Some((_, Value::Now(_) | Value::NowFloat(_))) | None => MetricType::Gauge,
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = self.metric_type();
        let mut encoder =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        for (labels, value) in &self.series {
            let labels = &labels[..];
            match value {
                // Braces without labels in them would be valid and ugly; an info's labels are written by itself.
                Value::Info => encoder.encode_info(&labels)?,
                value if labels.is_empty() => value.encode(&mut encoder)?,
                value => value.encode(&mut encoder.encode_family(&labels)?)?,
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Count(value) => encoder.encode_counter::<NoLabels, _, u64>(value, None),
            Self::CountSeconds(value) => encoder.encode_counter::<NoLabels, _, u64>(value, None),
            Self::Now(value) => encoder.encode_gauge(value),
            Self::NowFloat(value) => encoder.encode_gauge(value),
            Self::Waits(amounts, step) => encoder.encode_histogram::<NoLabels>(
                seconds(amounts.wait_ns),
                amounts.waits(),
                &amounts.buckets(*step),
                None,
            ),
            Self::Info => Ok(()),
        }
    }
}

/// Everything that one scrape gets. A metric without series is left out: what is not attached is absent, never 0.
#[derive(Clone, Debug, Default)]
pub struct Exposition(pub(super) Arc<[Family]>);

impl Exposition {
    /// The text.
    ///
    /// # Errors
    /// The encoder's, which has none for values such as these.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Prometheus => text::prometheus(&text),
        })
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .filter(|family| !family.series.is_empty())
            .try_for_each(|family| family.encode(&mut encoder))
    }
}
