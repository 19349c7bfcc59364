//! The fonts: parts of those that egui ships, and of a Chinese one behind them. Natively the system's follow for all else.

use std::sync::Arc;

use egui::{Context, FontData, FontDefinitions, FontFamily, FontTweak};

/// Makes them those of the interface.
pub fn install(context: &Context) {
    let mut fonts = FontDefinitions::empty();
    let signs = FontTweak { scale: 0.81, ..FontTweak::default() };
    let icons = FontTweak { scale: 0.9, ..FontTweak::default() };
    let data: [(&str, &'static [u8], FontTweak); 5] = [
        ("Hack", include_bytes!("../../../assets/fonts/Hack-Regular-subset.ttf"), FontTweak::default()),
        ("Ubuntu-Light", include_bytes!("../../../assets/fonts/Ubuntu-Light-subset.ttf"), FontTweak::default()),
        ("Noto Emoji", include_bytes!("../../../assets/fonts/NotoEmoji-subset.ttf"), signs),
        ("emoji-icon-font", include_bytes!("../../../assets/fonts/emoji-icon-subset.ttf"), icons),
        ("Noto Sans SC", include_bytes!("../../../assets/fonts/NotoSansSC-subset.otf"), FontTweak::default()),
    ];
    for (name, bytes, tweak) in data {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(bytes).tweak(tweak)));
    }
    let behind = ["Noto Emoji", "emoji-icon-font", "Noto Sans SC"];
    let family = |first: &[&str]| first.iter().chain(&behind).map(|name| (*name).to_owned()).collect::<Vec<_>>();
    fonts.families.insert(FontFamily::Monospace, family(&["Hack", "Ubuntu-Light"]));
    fonts.families.insert(FontFamily::Proportional, family(&["Ubuntu-Light"]));
    context.set_fonts(fonts);
}
