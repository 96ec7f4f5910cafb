//! Writing HTML so that nothing from outside can become markup: tags and attribute names are literals of this program,
//! everything else goes through [`escape`].

use std::borrow::Cow;

use crate::sink::text;

/// A document under construction.
#[derive(Debug, Default)]
pub struct Html(String);

/// An attribute; its value is escaped.
pub type Attribute<'a> = (&'static str, &'a str);

impl Html {
    /// Markup of our own.
    pub fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// `<tag a="b">`.
    pub fn open(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.0.push_str(&escape(value));
            self.0.push('"');
        }
        self.0.push('>');
    }

    /// `</tag>`, on a line of its own end.
    pub fn close(&mut self, tag: &'static str) {
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push_str(">\n");
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        self.0.push_str(&escape(text));
    }

    /// An element with nothing but text in it, followed by a line end.
    pub fn leaf(&mut self, tag: &'static str, attributes: &[Attribute<'_>], text: &str) {
        self.inline(tag, attributes, text);
        self.0.push('\n');
    }

    /// The same within a line.
    pub fn inline(&mut self, tag: &'static str, attributes: &[Attribute<'_>], text: &str) {
        self.open(tag, attributes);
        self.text(text);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
    }

    /// The document.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Makes text safe between tags and inside quoted attributes, and printable.
pub fn escape(text: &str) -> Cow<'_, str> {
    let text = text::sanitise(text);
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_cannot_become_markup() {
        let mut html = Html::default();
        html.leaf(
            "p",
            &[("title", "\"><script>")],
            "</p>&<b onclick='x'>\u{202e}\n",
        );
        assert_eq!(
            html.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;\">&lt;/p&gt;&amp;&lt;b onclick=&#39;x&#39;&gt;\u{fffd}\u{fffd}</p>\n"
        );
    }
}
