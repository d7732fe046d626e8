use std::io::Write;

use super::*;

/// Six images of 2 × 3 in two classes; the pixels count up.
fn idx(count: u32, sizes: &[u32]) -> (Vec<u8>, Vec<u8>) {
    let mut images = vec![0, 0, 8, sizes.len() as u8 + 1];
    images.extend(count.to_be_bytes());
    sizes.iter().for_each(|size| images.extend(size.to_be_bytes()));
    images.extend((0..count * sizes.iter().product::<u32>()).map(|pixel| pixel as u8));
    let mut labels = vec![0, 0, 8, 1];
    labels.extend(count.to_be_bytes());
    labels.extend((0..count).map(|row| (row % 2) as u8));
    (images, labels)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn data(folder: &Path) -> ImageData {
    ImageData { folder: folder.to_owned(), validation: 0.25, ..ImageData::default() }
}

#[test]
fn idx_files_plain_and_gzipped() {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels) = idx(40, &[2, 3]);
    std::fs::write(folder.path().join("train-images-idx3-ubyte.gz"), gzip(&images)).unwrap();
    std::fs::write(folder.path().join("train-labels-idx1-ubyte"), &labels).unwrap();
    // Without a test set a fifth of the images becomes one, and no image is in two sets.
    let split = data(folder.path()).read().unwrap();
    let test = data(folder.path()).read_test().unwrap();
    let validation = split.validation.unwrap();
    assert_eq!([split.training.len(), validation.len(), test.len()], [24, 8, 8]);
    assert_eq!(split.training.shape, Shape { channels: 1, height: 2, width: 3 });
    let mut first: Vec<u8> =
        [&split.training, &validation, &test].iter().flat_map(|set| set.pixels.chunks(6).map(|i| i[0])).collect();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), 40);
    assert_eq!(validation.labels.iter().filter(|label| **label == 0).count(), 4);
    // With one, all images are there to learn from, and fewer if that is asked for.
    let (images, labels) = idx(10, &[2, 3]);
    std::fs::write(folder.path().join("t10k-images-idx3-ubyte"), &images).unwrap();
    std::fs::write(folder.path().join("t10k-labels-idx1-ubyte"), &labels).unwrap();
    assert_eq!(data(folder.path()).read().unwrap().training.len(), 30);
    assert_eq!(data(folder.path()).read_test().unwrap().len(), 10);
    let few = ImageData { rows: 8, ..data(folder.path()) }.read().unwrap();
    assert_eq!([few.training.len(), few.validation.unwrap().len()], [6, 2]);
    assert!(ImageData { validation: 0.0, ..data(folder.path()) }.read().unwrap().validation.is_none());
}

#[test]
fn broken_files_are_refused_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels) = idx(6, &[2, 3]);
    let images_at = folder.path().join("train-images-idx3-ubyte");
    let labels_at = folder.path().join("train-labels-idx1-ubyte");
    let said = |images: &[u8], labels: &[u8]| {
        std::fs::write(&images_at, images).unwrap();
        std::fs::write(&labels_at, labels).unwrap();
        data(folder.path()).read().unwrap_err().to_string()
    };
    assert!(said(&images[..30], &labels).contains("ends after 14 of 36"));
    assert!(said(&[&images[..], &[1]].concat(), &labels).contains("goes on"));
    assert!(said(&[9; 40], &labels).contains("is no IDX file"));
    assert!(said(&[], &labels).contains("within its header"));
    assert!(said(&images, &labels[..11]).contains("train-labels"));
    // A header that tells of four thousand million images of a file of 50 bytes.
    let mut huge = images.clone();
    huge[4..16].fill(255);
    assert!(said(&huge, &labels).contains("too large"));
    huge[4..16].copy_from_slice(&[0, 255, 255, 255, 0, 0, 0, 2, 0, 0, 0, 3]);
    assert!(said(&huge, &labels).contains("ends after"));
    let (one, labels_of_one) = idx(1, &[2, 3]);
    assert!(said(&one, &labels_of_one).contains("one class"));
    std::fs::remove_file(&labels_at).unwrap();
    assert!(data(folder.path()).read().unwrap_err().to_string().contains("no file of labels"));
    std::fs::remove_file(&images_at).unwrap();
    assert!(data(folder.path()).read().unwrap_err().to_string().contains("data.folder"));
    assert!(data(&folder.path().join("nowhere")).read().unwrap_err().to_string().contains("nowhere"));
    for wrong in [f64::NAN, -0.1, 1.0] {
        assert!(ImageData { validation: wrong, ..data(folder.path()) }.read().is_err());
    }
}

#[test]
fn records_of_cifar() {
    let folder = tempfile::tempdir().unwrap();
    let record = |label: u8| [vec![label], (0..3072).map(|at| (at / 1024) as u8 * 50 + label).collect()].concat();
    let all: Vec<u8> = (0..20).flat_map(|row| record(row % 2)).collect();
    std::fs::write(folder.path().join("data_batch_1.bin"), &all).unwrap();
    std::fs::write(folder.path().join("data_batch_2.bin.gz"), gzip(&all)).unwrap();
    std::fs::write(folder.path().join("test_batch.bin"), record(1)).unwrap();
    let split = data(folder.path()).read().unwrap();
    assert_eq!(split.training.len() + split.validation.unwrap().len(), 40);
    assert_eq!(split.training.image(0)[1024] - split.training.image(0)[0], 50, "channel by channel");
    assert_eq!(data(folder.path()).read_test().unwrap().labels, [1]);
    std::fs::write(folder.path().join("classes.txt"), "cat\n").unwrap();
    assert!(data(folder.path()).read().unwrap_err().to_string().contains("a label is 1"));
    std::fs::write(folder.path().join("classes.txt"), "cat\ndog\n").unwrap();
    assert_eq!(data(folder.path()).read().unwrap().training.classes, ["cat", "dog"]);
    std::fs::write(folder.path().join("data_batch_1.bin"), &all[1..]).unwrap();
    assert!(data(folder.path()).read().unwrap_err().to_string().contains("records of 3073"));
}

fn write_png(path: &Path, color: png::ColorType, side: u32, bytes: &[u8]) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), side, side);
    encoder.set_color(color);
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
}

#[test]
fn folders_of_pngs() {
    let folder = tempfile::tempdir().unwrap();
    for (set, count) in [("train", 4), ("test", 1)] {
        for class in ["cat", "dog"] {
            let path = folder.path().join(set).join(class);
            std::fs::create_dir_all(&path).unwrap();
            (0..count).for_each(|at| {
                write_png(&path.join(format!("{at}.png")), png::ColorType::Rgba, 2, &(0..16).collect::<Vec<u8>>())
            });
        }
    }
    let split = data(folder.path()).read().unwrap();
    assert_eq!((split.training.len(), split.training.classes.join(" ")), (6, "cat dog".into()));
    assert_eq!(split.training.image(0), [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14], "without transparency, channel by channel");
    assert_eq!(data(folder.path()).read_test().unwrap().labels, [0, 1]);
    let odd = folder.path().join("train/dog/9.png");
    write_png(&odd, png::ColorType::Grayscale, 2, &[0; 4]);
    assert!(data(folder.path()).read().unwrap_err().to_string().contains("bring all to one size"));
    std::fs::write(&odd, b"not a picture").unwrap();
    assert!(data(folder.path()).read().unwrap_err().to_string().contains("9.png"));
    std::fs::remove_file(&odd).unwrap();
    std::fs::rename(folder.path().join("test/dog"), folder.path().join("test/fox")).unwrap();
    assert!(data(folder.path()).read_test().unwrap_err().to_string().contains("fox"));
}

#[test]
fn classes_keep_their_shares() {
    let labels: Vec<u16> = (0..100).map(|row| if row < 90 { 0 } else { 1 }).chain([2]).collect();
    let rows: Vec<u32> = (0..101).collect();
    let (drawn, rest) = stratified(&labels, &rows, 0.2, 7, "test");
    let count = |rows: &[u32], class: u16| rows.iter().filter(|&&row| labels[row as usize] == class).count();
    assert_eq!([count(&drawn, 0), count(&drawn, 1)], [18, 2]);
    assert_eq!(drawn.len() + rest.len(), 101);
    assert_eq!(stratified(&labels, &rows, 0.2, 7, "test").0, drawn);
    assert_ne!(stratified(&labels, &rows, 0.2, 8, "test").0, drawn);
    assert!(stratified(&labels, &rows, 0.0, 7, "test").0.is_empty());
}

#[test]
fn pixels_are_normalised_and_varied_by_their_number_alone() {
    let shape = Shape { channels: 3, height: 6, width: 5 };
    let pixels: Vec<u8> = (0..4 * shape.len()).map(|at| (at * 37 % 251) as u8).collect();
    let images = Images { shape, pixels, labels: vec![0, 1, 0, 1], classes: vec!["a".into(), "b".into()] };
    let normalizer = Normalizer::of(&images);
    let rows = Rows::new(&images, &normalizer);
    let all = rows.plain(&[0, 1, 2, 3]);
    for channel in 0..3 {
        let of: Vec<f32> = all.chunks(30).skip(channel).step_by(3).flatten().copied().collect();
        let mean = of.iter().sum::<f32>() / 120.0;
        assert!(mean.abs() < 1e-4 && (of.iter().map(|x| x * x).sum::<f32>() / 120.0 - 1.0).abs() < 1e-3);
    }
    let augment = Augment { crop: 2, flip: true, cutout: 2 };
    let varied = rows.varied(&[0, 1, 2, 3], &augment, 9, 4);
    let apart = [rows.varied(&[0, 1], &augment, 9, 4), rows.varied(&[2, 3], &augment, 9, 4)].concat();
    assert_eq!(varied, apart);
    assert_ne!(varied, rows.varied(&[0, 1, 2, 3], &augment, 9, 5));
    assert_ne!(varied, rows.varied(&[0, 1, 2, 3], &augment, 8, 4));
    assert_eq!(rows.varied(&[2], &Augment::default(), 9, 4), rows.plain(&[2]));
    // A mirror is its own inverse: an image is itself or mirrored, and over many epochs both come.
    let mirror = Augment { flip: true, ..Augment::default() };
    let plain = rows.plain(&[1]);
    let mirrored: Vec<f32> = plain.chunks(5).flat_map(|line| line.iter().rev().copied()).collect();
    let seen: Vec<bool> = (0..20)
        .map(|epoch| {
            let one = rows.varied(&[1], &mirror, 1, epoch);
            assert!(one == plain || one == mirrored);
            one == plain
        })
        .collect();
    assert!(seen.contains(&true) && seen.contains(&false));
    // A square of at most 2 × 2 is blank in each channel.
    let cutout = Augment { cutout: 2, ..Augment::default() };
    for epoch in 0..10 {
        let one = rows.varied(&[3], &cutout, 1, epoch);
        let blank = one.iter().zip(&rows.plain(&[3])).filter(|(a, b)| a != b).count();
        assert!((3..=12).contains(&blank) && blank.is_multiple_of(3), "{blank}");
    }
    // What comes from outside is black.
    let crop = Augment { crop: 3, ..Augment::default() };
    let black = (0.0 - normalizer.means[0]) / normalizer.deviations[0];
    let moved = rows.varied(&[0], &crop, 1, 1);
    let old = rows.plain(&[0]);
    assert!(moved[..30].iter().all(|x| *x == black || old[..30].contains(x)));
}

#[test]
fn real_sets() {
    let Some(folder) = std::env::var_os("AUTOML_DATA").map(PathBuf::from) else {
        eprintln!("skipped: AUTOML_DATA does not name a folder with the data sets");
        return;
    };
    for (name, train, test, shape) in [
        ("fashion_mnist", 60_000, 10_000, [1, 28, 28]),
        ("cifar10_small", 5_000, 1_000, [3, 32, 32]),
        ("digits8x8", 1_438, 359, [1, 8, 8]),
    ] {
        let data = ImageData { folder: folder.join("images").join(name), validation: 0.0, ..ImageData::default() };
        let training = data.read().unwrap().training;
        let Shape { channels, height, width } = training.shape;
        assert_eq!((training.len(), [channels, height, width]), (train, shape), "{name}");
        assert_eq!((data.read_test().unwrap().len(), training.classes.len()), (test, 10), "{name}");
    }
}
