//! What registries and archives say of images: references, manifests, indexes and configs. What is understood means the same when it
//! is written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::image::{ImageConfig, parse_document};
use oci::{Reference, media};

fuzz_target!(|bytes: &[u8]| {
    for media_type in [media::OCI_MANIFEST, media::OCI_INDEX, media::DOCKER_MANIFEST, ""] {
        let _ = parse_document(bytes, media_type);
    }
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        let text = serde_json::to_vec(&config).expect("it has text keys and no floats");
        assert_eq!(serde_json::from_slice::<ImageConfig>(&text).expect("it was one before"), config);
    }
    if let Ok(reference) =
        std::str::from_utf8(bytes).map_err(drop).and_then(|text| Reference::parse(text).map_err(drop))
    {
        assert_eq!(Reference::parse(&reference.canonical()), Ok(reference));
    }
});
