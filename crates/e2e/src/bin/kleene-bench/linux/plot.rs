//! Curves and bars as SVG.

use std::path::Path;

use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 360);
const FONT: (&str, i32) = ("sans-serif", 14);
const TITLE: (&str, i32) = ("sans-serif", 17);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1b, 0x6c, 0xa8),
    RGBColor(0xc8, 0x55, 0x3d),
    RGBColor(0x3a, 0x7d, 0x44),
    RGBColor(0x8e, 0x5d, 0xa6),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x55, 0x55, 0x55),
];

/// A curve: its name, whether it is drawn thin, and its points.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) thin: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Draws curves from the origin on.
pub(crate) fn curves(
    file: &Path,
    title: &str,
    axes: [&str; 2],
    curves: &[Curve],
) -> Result<(), String> {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let right = all().map(|point| point.0).fold(1.0, f64::max);
    let top = all().map(|point| point.1).fold(0.0, f64::max) * 1.1;
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, TITLE)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        let mesh = &mut chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).label_style(FONT).x_desc(axes[0]).y_desc(axes[1]);
        mesh.draw()?;
        for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(if curve.thin { 1 } else { 2 });
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(FONT)
            .draw()?;
        area.present()?;
        Ok(())
    };
    draw().map_err(|error| format!("draw {}: {error}", file.display()))
}

/// Draws a bar for each name, from left to right.
pub(crate) fn bars(file: &Path, title: &str, bars: &[(String, f64)]) -> Result<(), String> {
    const ROW: u32 = 34;
    let right = bars.iter().map(|bar| bar.1).fold(0.0, f64::max) * 1.15;
    let count = u32::try_from(bars.len()).unwrap_or(1);
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::new(file, (SIZE.0, ROW * count + 90)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, TITLE)
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(190)
            .build_cartesian_2d(0.0..right, (0..count).into_segmented())?;
        let name = |at: &SegmentValue<u32>| match at {
            SegmentValue::CenterOf(row) => {
                let bar = bars.get(*row as usize);
                bar.map(|bar| bar.0.clone()).unwrap_or_default()
            }
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        };
        let mesh = &mut chart.configure_mesh();
        mesh.disable_y_mesh().light_line_style(TRANSPARENT).label_style(FONT);
        mesh.y_labels(bars.len()).y_label_formatter(&name).draw()?;
        let rows = (0..count).zip(bars);
        chart.draw_series(rows.map(|(row, bar)| {
            let ends = [(0.0, SegmentValue::Exact(row)), (bar.1, SegmentValue::Exact(row + 1))];
            let mut shape = Rectangle::new(ends, COLOURS[0].mix(0.85).filled());
            shape.set_margin(5, 5, 0, 0);
            shape
        }))?;
        let rows = (0..count).zip(bars);
        chart.draw_series(rows.map(|(row, bar)| {
            let at = (bar.1, SegmentValue::CenterOf(row));
            Text::new(format!(" {:.1}", bar.1), at, FONT.into_font())
        }))?;
        area.present()?;
        Ok(())
    };
    draw().map_err(|error| format!("draw {}: {error}", file.display()))
}
