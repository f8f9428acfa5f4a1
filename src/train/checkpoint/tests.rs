use super::*;
use crate::models::Backbone;

fn tensor(name: &str, shape: &[usize], from: f32) -> NamedTensor {
    let n = shape.iter().product::<usize>();
    NamedTensor { name: name.into(), shape: shape.to_vec(), data: (0..n).map(|i| from + i as f32).collect() }
}

fn sample(step: u64) -> Checkpoint {
    let state = |from| vec![tensor("b.weight", &[2, 3], from), tensor("a.bias", &[4], from + 0.5)];
    Checkpoint {
        version: "0.1.0".into(),
        config: Config::default(),
        data: DataIdentity::of(["x", "y"]),
        state: TrainState { step, weights: state(1.0), momentum: state(-7.0) },
    }
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn it_loads_back_equal_and_describes_itself() {
    let dir = tempfile::tempdir().unwrap();
    let saved = sample(12);
    let path = saved.save(dir.path()).unwrap();
    assert!(path.ends_with("step-12.safetensors"));
    let loaded = Checkpoint::load(&path).unwrap();
    assert_eq!(loaded, saved);
    let d = loaded.describe(&path).unwrap();
    assert_eq!((d.step, d.videos_drawn, d.videos, d.parameters, d.backbone), (12, 12 * 128, 2, 10, "c3d"));
    assert!(d.finite && d.bytes == fs::metadata(&path).unwrap().len());
}

#[test]
fn any_reader_of_safetensors_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(sample(1).save(dir.path()).unwrap()).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("b.weight").unwrap().shape(), [2, 3]);
    assert_eq!(file.tensor("momentum.a.bias").unwrap().data()[..4], (-6.5_f32).to_le_bytes());
}

#[test]
fn damage_is_named_with_the_file_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(1).save(dir.path()).unwrap();
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let plain =
        safetensors::serialize(Vec::<(String, safetensors::tensor::TensorView)>::new(), None).unwrap();
    for (bytes, word) in [
        (&good[..0], "cut short"),
        (&good[..7], "cut short"),
        (&good[..100], "cut short"),
        (&good[..good.len() - 1], "damaged"),
        (&flipped, "damaged"),
        (&plain, "no checksum"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{}", "not a checkpoint"),
    ] {
        fs::write(&path, bytes).unwrap();
        let text = message(Checkpoint::load(&path));
        assert!(
            text.contains(word) && text.contains("step-1.safetensors") && text.contains("help:"),
            "{text}"
        );
    }
    assert!(message(Checkpoint::load(&dir.path().join("none"))).contains("nothing is there"));
}

#[test]
fn the_newest_intact_one_is_found() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Checkpoint::latest(dir.path()).unwrap().is_none());
    assert!(Checkpoint::latest(&dir.path().join("none")).unwrap().is_none());
    for step in [9, 10, 100] {
        sample(step).save(dir.path()).unwrap();
    }
    let found = |dir: &Path| Checkpoint::latest(dir).map(|c| c.map(|(_, c)| c.state.step));
    assert_eq!(found(dir.path()).unwrap(), Some(100));
    let cut = |step: u64| {
        let path = dir.path().join(format!("step-{step}.safetensors"));
        fs::write(&path, &fs::read(&path).unwrap()[..200]).unwrap();
    };
    cut(100);
    assert_eq!(found(dir.path()).unwrap(), Some(10));
    cut(10);
    cut(9);
    let text = message(found(dir.path()));
    assert!(
        text.contains("no intact checkpoint") && text.contains("step-100") && text.contains("--resume never"),
        "{text}"
    );
}

#[test]
fn a_run_folder_opens_at_its_newest_and_an_empty_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(message(Checkpoint::open(dir.path())).contains("holds no checkpoint"));
    let inner = dir.path().join("checkpoints");
    fs::create_dir(&inner).unwrap();
    sample(3).save(&inner).unwrap();
    let (path, checkpoint) = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.state.step, 3);
    assert_eq!(Checkpoint::open(&path).unwrap().1, checkpoint);
}

#[test]
fn pruning_keeps_the_newest_and_never_counts_later_ones() {
    let dir = tempfile::tempdir().unwrap();
    for step in [2, 4, 6, 8, 50] {
        sample(step).save(dir.path()).unwrap();
    }
    prune(dir.path(), 8, 2).unwrap();
    let left: Vec<_> = list(dir.path()).unwrap().into_iter().map(|(s, _)| s).collect();
    assert_eq!(left, [6, 8, 50]);
    prune(dir.path(), 8, 100).unwrap();
    assert_eq!(list(dir.path()).unwrap().len(), 3);
}

#[test]
fn another_network_is_refused_with_the_differences() {
    let mut other = sample(1);
    other.config.model.backbone = Backbone::R3d18;
    let current = other.state.clone();
    other.fits(Path::new("f"), &current).unwrap();
    other.state.weights[0].shape = vec![3, 2];
    other.state.weights[1].name = "c.bias".into();
    let text = message(other.fits(Path::new("f"), &current));
    for part in ["r3d18", "b.weight is [3, 2], not [2, 3]", "a.bias [4] is missing", "c.bias [4] is unknown"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn data_identity_sees_number_order_and_boundaries() {
    let all = [
        DataIdentity::of(["ab", "c"]),
        DataIdentity::of(["a", "bc"]),
        DataIdentity::of(["c", "ab"]),
        DataIdentity::of(["ab"]),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| a != b));
    }
}
