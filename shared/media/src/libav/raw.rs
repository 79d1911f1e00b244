//! Pictures of libavcodec as raw video for GStreamer, which converts and encodes them.

use ffmpeg_next as av;
use ffmpeg_next::format::Pixel;
use gstreamer as gst;

/// Samples of one pixel in a plane, and the shifts by which the plane is smaller than the picture.
type Plane = (usize, u32, u32);

/// How a pixel format is handed over: under which of GStreamer's names, in which planes, and of how many bits the
/// samples are. Of more than eight bits the upper eight are taken: more does not show in a JPEG.
struct Layout {
    name: &'static str,
    planes: &'static [Plane],
    bits: u32,
    big_endian: bool,
}

const Y420: &[Plane] = &[(1, 0, 0), (1, 1, 1), (1, 1, 1)];
const Y422: &[Plane] = &[(1, 0, 0), (1, 1, 0), (1, 1, 0)];
const Y444: &[Plane] = &[(1, 0, 0); 3];

/// Formats that are not listed are not converted. Planes of transparency are left out.
fn layout(format: Pixel) -> Option<Layout> {
    let (name, planes, bits): (_, &[Plane], _) = match format {
        Pixel::YUV420P | Pixel::YUVJ420P | Pixel::YUVA420P => ("I420", Y420, 8),
        Pixel::YUV422P | Pixel::YUVJ422P | Pixel::YUVA422P => ("Y42B", Y422, 8),
        Pixel::YUV444P | Pixel::YUVJ444P | Pixel::YUVA444P => ("Y444", Y444, 8),
        Pixel::YUV411P | Pixel::YUVJ411P => ("Y41B", &[(1, 0, 0), (1, 2, 0), (1, 2, 0)], 8),
        Pixel::YUV410P => ("YUV9", &[(1, 0, 0), (1, 2, 2), (1, 2, 2)], 8),
        Pixel::YUV420P9LE => ("I420", Y420, 9),
        Pixel::YUV422P9LE => ("Y42B", Y422, 9),
        Pixel::YUV444P9LE => ("Y444", Y444, 9),
        Pixel::YUV420P10LE | Pixel::YUVA420P10LE => ("I420", Y420, 10),
        Pixel::YUV422P10LE | Pixel::YUVA422P10LE => ("Y42B", Y422, 10),
        Pixel::YUV444P10LE | Pixel::YUVA444P10LE => ("Y444", Y444, 10),
        Pixel::YUV420P12LE => ("I420", Y420, 12),
        Pixel::YUV422P12LE | Pixel::YUVA422P12LE => ("Y42B", Y422, 12),
        Pixel::YUV444P12LE | Pixel::YUVA444P12LE => ("Y444", Y444, 12),
        Pixel::YUV420P16LE | Pixel::YUVA420P16LE => ("I420", Y420, 16),
        Pixel::YUV422P16LE | Pixel::YUVA422P16LE => ("Y42B", Y422, 16),
        Pixel::YUV444P16LE | Pixel::YUVA444P16LE => ("Y444", Y444, 16),
        Pixel::GBRP | Pixel::GBRAP => ("GBR", Y444, 8),
        Pixel::GBRP10LE | Pixel::GBRAP10LE => ("GBR", Y444, 10),
        Pixel::GBRP12LE | Pixel::GBRAP12LE => ("GBR", Y444, 12),
        Pixel::GBRP16LE | Pixel::GBRAP16LE => ("GBR", Y444, 16),
        Pixel::NV12 => ("NV12", &[(1, 0, 0), (2, 1, 1)], 8),
        Pixel::GRAY8 => ("GRAY8", &[(1, 0, 0)], 8),
        Pixel::GRAY10LE => ("GRAY8", &[(1, 0, 0)], 10),
        Pixel::GRAY12LE => ("GRAY8", &[(1, 0, 0)], 12),
        Pixel::GRAY16LE | Pixel::GRAY16BE => ("GRAY8", &[(1, 0, 0)], 16),
        Pixel::RGB24 => ("RGB", &[(3, 0, 0)], 8),
        Pixel::BGR24 => ("BGR", &[(3, 0, 0)], 8),
        Pixel::RGB48LE | Pixel::RGB48BE => ("RGB", &[(3, 0, 0)], 16),
        Pixel::RGBA64LE | Pixel::RGBA64BE => ("RGBx", &[(4, 0, 0)], 16),
        Pixel::RGBA | Pixel::RGBZ => ("RGBx", &[(4, 0, 0)], 8),
        Pixel::BGRA | Pixel::BGRZ => ("BGRx", &[(4, 0, 0)], 8),
        Pixel::ARGB | Pixel::ZRGB => ("xRGB", &[(4, 0, 0)], 8),
        Pixel::ABGR | Pixel::ZBGR => ("xBGR", &[(4, 0, 0)], 8),
        Pixel::RGB565LE => ("RGB16", &[(2, 0, 0)], 8),
        Pixel::RGB555LE => ("RGB15", &[(2, 0, 0)], 8),
        Pixel::YUYV422 => ("YUY2", &[(2, 0, 0)], 8),
        Pixel::UYVY422 => ("UYVY", &[(2, 0, 0)], 8),
        _ => return None,
    };
    let big_endian = matches!(format, Pixel::GRAY16BE | Pixel::RGB48BE | Pixel::RGBA64BE);
    Some(Layout {
        name,
        planes,
        bits,
        big_endian,
    })
}

/// The picture in GStreamer's usual arrangement: rows of a multiple of four bytes, planes one after the other.
pub(super) fn sample(frame: &av::frame::Video) -> Option<gst::Sample> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let layout = layout(frame.format())?;
    let lowest = layout.planes.iter().map(|plane| plane.2).max()?;
    let mut bytes = Vec::new();
    for (index, (each, narrower, lower)) in layout.planes.iter().enumerate() {
        let row = width.div_ceil(1 << narrower).checked_mul(*each)?;
        let rows = height.div_ceil(1 << lower);
        // The planes behind this one begin as if the picture's height were even.
        let whole = height
            .next_multiple_of(1 << lowest.min(1))
            .div_ceil(1 << lower);
        let end = bytes.len() + row.next_multiple_of(4) * whole;
        layout.copy_rows(frame, index, (row, rows), &mut bytes)?;
        bytes.resize(end, 0);
    }
    let side = |length: usize| i32::try_from(length).ok();
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", layout.name)
        .field("width", side(width)?)
        .field("height", side(height)?)
        .field("framerate", gst::Fraction::new(0, 1))
        .build();
    let buffer = gst::Buffer::from_slice(bytes);
    Some(gst::Sample::builder().buffer(&buffer).caps(&caps).build())
}

impl Layout {
    /// Adds the rows of a plane, each of so many samples and filled up to a multiple of four bytes.
    fn copy_rows(
        &self,
        frame: &av::frame::Video,
        index: usize,
        (samples, rows): (usize, usize),
        into: &mut Vec<u8>,
    ) -> Option<()> {
        if index >= frame.planes() {
            return None;
        }
        let stride = frame.stride(index);
        let row = if self.bits > 8 {
            samples.checked_mul(2)?
        } else {
            samples
        };
        // A picture that is stored from the bottom up has a negative stride.
        let plane = (stride >= row && i32::try_from(stride).is_ok()).then(|| frame.data(index))?;
        for number in 0..rows {
            let start = number.checked_mul(stride)?;
            let bytes = plane.get(start..start.checked_add(row)?)?;
            if self.bits > 8 {
                into.extend(
                    bytes
                        .as_chunks::<2>()
                        .0
                        .iter()
                        .map(|pair| self.upper(*pair)),
                );
            } else {
                into.extend_from_slice(bytes);
            }
            into.resize(into.len() + samples.next_multiple_of(4) - samples, 0);
        }
        Some(())
    }

    /// The upper eight bits of a sample.
    fn upper(&self, pair: [u8; 2]) -> u8 {
        let sample = if self.big_endian {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        };
        u8::try_from(sample >> (self.bits - 8)).unwrap_or(u8::MAX)
    }
}
