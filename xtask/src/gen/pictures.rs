//! The pictures of the learning centre: boxes and arrows, drawn from what [`data`] says.

mod data;

use std::fmt::Write as _;

pub use data::PICTURES;

/// How wide every picture is.
const WIDTH: u32 = 960;

/// A picture: one idea of one page.
#[derive(Debug)]
pub struct Picture {
    /// The file, below `docs/src/learn/`.
    pub file: &'static str,
    /// What it shows, for who cannot see it.
    pub label: &'static str,
    /// How high it is.
    pub height: u32,
    /// Its boxes. One that others lie in comes before them.
    pub boxes: &'static [Box],
    /// What leads from box to box.
    pub arrows: &'static [Arrow],
}

/// A box: its place in pixels, and what is written in it.
#[derive(Debug)]
pub struct Box {
    /// What arrows call it.
    pub id: &'static str,
    /// Left, top, width, height.
    pub at: [u32; 4],
    /// The word that stands for it.
    pub title: &'static str,
    /// What it is in the analogy, or in one line.
    pub caption: &'static str,
    /// How it looks.
    pub tone: Tone,
}

/// How a box looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As most are.
    Plain,
    /// What the page is about.
    Main,
    /// What is well.
    Good,
    /// What is refused, or lost.
    Bad,
    /// What others lie in: its text is at the top.
    Around,
}

/// An arrow between two boxes.
#[derive(Debug)]
pub struct Arrow {
    /// Where it begins.
    pub from: &'static str,
    /// Where it leads.
    pub to: &'static str,
    /// What is written beside it.
    pub caption: &'static str,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Main => "main",
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Around => "around",
        }
    }
}

/// Colours of a class, in the light and in the dark: what fills a box, and its border.
const COLOURS: [(&str, [&str; 2], [&str; 2]); 5] = [
    ("plain", ["#ffffff", "#5b6470"], ["#262b31", "#9aa4b0"]),
    ("main", ["#fff3e6", "#d9822b"], ["#3d2b17", "#e09a52"]),
    ("good", ["#e6f2ea", "#3c8d5a"], ["#1b3325", "#5fb37e"]),
    ("bad", ["#fbe9e7", "#c0392b"], ["#3d1f1b", "#e57366"]),
    ("around", ["#eef4f8", "#5b6470"], ["#1f262c", "#9aa4b0"]),
];

fn style() -> String {
    let mut light = String::from(
        ".back{fill:#fbfaf7}.text{fill:#23292f}.note,.say,.tip{fill:#5b6470}.say{stroke:#fbfaf7}.line{stroke:#5b6470}",
    );
    let mut dark = String::from(
        ".back{fill:#16191d}.text{fill:#e6e9ec}.note,.say,.tip{fill:#aab3bd}.say{stroke:#16191d}.line{stroke:#aab3bd}",
    );
    for (class, [fill, border], [dark_fill, dark_border]) in COLOURS {
        // Writing to a String cannot fail.
        let _ = write!(light, ".{class}{{fill:{fill};stroke:{border}}}");
        let _ = write!(dark, ".{class}{{fill:{dark_fill};stroke:{dark_border}}}");
    }
    format!("{light}@media (prefers-color-scheme:dark){{{dark}}}")
}

impl Box {
    fn centre(&self) -> (f64, f64) {
        let [x, y, w, h] = self.at.map(f64::from);
        (x + w / 2.0, y + h / 2.0)
    }

    /// Where a line from its centre towards `to` leaves it, and a little further, so that an arrow's tip is seen.
    fn edge(&self, to: (f64, f64)) -> (f64, f64) {
        let (x, y) = self.centre();
        let (dx, dy) = (to.0 - x, to.1 - y);
        let [_, _, w, h] = self.at.map(f64::from);
        let (half_w, half_h) = (w / 2.0 + 3.0, h / 2.0 + 3.0);
        let part = (half_w / dx.abs()).min(half_h / dy.abs());
        if part.is_finite() { (x + dx * part, y + dy * part) } else { (x, y) }
    }

    fn draw(&self, out: &mut String) {
        let [x, y, w, h] = self.at;
        let middle = x + w / 2;
        let first = match (self.tone, self.caption) {
            (Tone::Around, _) => y + 24,
            (_, "") => y + h / 2 + 5,
            _ => y + h / 2 - 4,
        };
        let class = self.tone.class();
        let _ = writeln!(
            out,
            "  <rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"8\"/>"
        );
        let title = escaped(self.title);
        let _ = writeln!(
            out,
            "  <text class=\"text\" x=\"{middle}\" y=\"{first}\" font-weight=\"600\">{title}</text>"
        );
        if !self.caption.is_empty() {
            let (at, caption) = (first + 20, escaped(self.caption));
            let _ = writeln!(
                out,
                "  <text class=\"note\" x=\"{middle}\" y=\"{at}\" font-size=\"13\">{caption}</text>"
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Picture {
    fn find(&self, id: &str) -> Option<&Box> {
        self.boxes.iter().find(|it| it.id == id)
    }

    /// As SVG, in the colours of who looks at it.
    pub fn svg(&self) -> String {
        let (height, label) = (self.height, escaped(self.label));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" \
             font-size=\"15\" text-anchor=\"middle\" stroke-width=\"1.5\" role=\"img\" aria-label=\"{label}\">\n  <!-- Generated by \
             `cargo xtask gen`; do not edit. -->\n  <style>{} .text,.note{{stroke:none}}.say{{stroke-width:5px;paint-order:stroke}}</style>\n  <defs><marker id=\"tip\" viewBox=\"0 0 10 10\" \
             refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L10 5L0 10z\"/>\
             </marker></defs>\n  <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\" rx=\"12\"/>\n",
            style()
        );
        self.boxes.iter().for_each(|one| one.draw(&mut out));
        for arrow in self.arrows {
            let (Some(from), Some(to)) = (self.find(arrow.from), self.find(arrow.to)) else { continue };
            let ((x1, y1), (x2, y2)) = (from.edge(to.centre()), to.edge(from.centre()));
            let _ = writeln!(
                out,
                "  <path class=\"line\" d=\"M{x1:.0} {y1:.0}L{x2:.0} {y2:.0}\" marker-end=\"url(#tip)\"/>"
            );
            if !arrow.caption.is_empty() {
                // Above a level line, right of an upright one, and in the middle of any other.
                let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
                let (x, y, anchor) = match ((x2 - x1).abs() < 1.0, (y2 - y1).abs() < 1.0) {
                    (true, _) => (x + 8.0, y + 4.0, "start"),
                    (_, true) => (x, y - 7.0, "middle"),
                    _ => (x, y + 4.0, "middle"),
                };
                let caption = escaped(arrow.caption);
                let _ = writeln!(
                    out,
                    "  <text class=\"say\" x=\"{x:.0}\" y=\"{y:.0}\" font-size=\"12\" text-anchor=\"{anchor}\">{caption}</text>"
                );
            }
        }
        out.push_str("</svg>\n");
        out
    }
}

/// The pictures: their paths in the repository, and what is in them.
pub fn files() -> impl Iterator<Item = (String, String)> {
    PICTURES.iter().map(|picture| (format!("docs/src/learn/{}", picture.file), picture.svg()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_the_picture_and_fits_its_box() {
        for picture in PICTURES {
            for one in picture.boxes {
                let [x, y, w, h] = one.at;
                assert!(x + w <= WIDTH && y + h <= picture.height, "{}: {} is outside", picture.file, one.id);
                let wide = (one.title.chars().count() * 9).max(one.caption.chars().count() * 7);
                assert!(wide <= w as usize, "{}: the text of {} is too long", picture.file, one.id);
                let same = picture.boxes.iter().filter(|other| other.id == one.id).count();
                assert_eq!(same, 1, "{}: {}", picture.file, one.id);
            }
            for arrow in picture.arrows {
                for id in [arrow.from, arrow.to] {
                    assert!(picture.find(id).is_some(), "{}: there is no {id}", picture.file);
                }
            }
        }
    }

    #[test]
    fn an_arrow_goes_from_edge_to_edge() {
        let one = |id, x| Box { id, at: [x, 0, 100, 50], title: "", caption: "", tone: Tone::Plain };
        let (a, b) = (one("a", 0), one("b", 200));
        assert_eq!(a.edge(b.centre()), (103.0, 25.0));
        assert_eq!(b.edge(a.centre()), (197.0, 25.0));
        assert_eq!(a.edge(a.centre()), a.centre());
    }
}
