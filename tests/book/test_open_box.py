"""Every network, loss and statistic is built where it is taught: what a chapter is about stands in its own cells."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"

# Chapter → regular expressions that its code must meet: layers, losses, training, statistics, the package's twin.
SHOWN = {
    2: (r"def kl_divergence\(", r"StratifiedGroupKFold\(", r"galaxy_divergences\("),
    3: (
        r"layers\.Conv2D\(",
        r"layers\.BatchNormalization\(",
        r"layers\.MaxPooling2D\(",
        r"layers\.Dropout\(",
        r"layers\.Dense\(",
        r"\.compile\(",
        r"CategoricalCrossentropy\(",
        r"\.fit\(",
        r"callbacks\.EarlyStopping\(",
        r"sliding_window_view\(",
        r"random\.(choice|integers)\(|rng\.(choice|integers)\(",
        r"gu\.models\.four_block_cnn\(",
        r"four_block_cnn\(.*pooling=\"average\"",
        r"gu\.models\.three_block_cnn\(",
    ),
    4: (
        r"class \w+\(.*Layer\)",
        r"Conv2DTranspose\(|UpSampling2D\(",
        r"random\.normal\(",
        r"ops\.exp\(",
        r"\.compile\(",
        r"\.fit\(",
        r"augmentation\.denoising_autoencoder",
        r"augmentation\.variational_autoencoder",
        r"def with_encoder_module\(",
    ),
    5: (r"layers\.Conv2DTranspose\(", r"loss_weights", r"clipnorm", r"\.compile\(", r"fit\(", r"joint_autoencoder"),
    6: (r"np\.linalg\.svd\(", r"PCA\(", r"silhouette_score\("),
    7: (
        r"layers\.(Add\(|add\()",
        r"\.trainable = ",
        r"callbacks\.EarlyStopping\(",
        r"callbacks\.ReduceLROnPlateau\(",
        r"\.compile\(",
        r"\.fit\(",
        r"backbone_classifier\(",
    ),
    8: (
        r"layers\.Conv2D\(",
        r"def (compute_loss|train_step)\(",
        r"\.compile\(",
        r"\.fit\(",
        r"peak_signal_noise_ratio\(",
        r"structural_similarity\(",
        r"super_resolution_gan\(",
        r"discriminator\.set_weights\(",
    ),
    9: (
        r"layers\.Conv2D(Transpose)?\(",
        r"def (compute_loss|train_step)\(",
        r"stop_gradient\(",
        r"\.compile\(",
        r"\.fit\(",
        r"sqrtm\(|eigvals?h?\(",
        r"frechet_distance\(",
        r"kernel_distance\(",
        r"relativistic_gan\(",
        r"conditional_gan\(",
        r"np\.linalg\.cholesky\(",
    ),
    10: (r"sample_weight=", r"def oversample\(", r"np\.concatenate\(\s*\[prepared\.images", r"\.compile\(", r"fit\("),
    11: (r"def verdict\(", r"\.compile\(", r"fit\(", r"np\.mean\(\[member"),
    12: (r"\.compile\(", r"fit\(", r"def at_random\(", r"permutation\(", r"quad\("),
    13: (
        r"momentum = 0\.0",
        r"class RandomTelescope\(layers\.Layer\)",
        r"def nt_xent\(",
        r"class SimCLR\(keras\.Model\)",
        r"class FixMatch\(keras\.Model\)",
        r"def compute_loss\(",
        r"stop_gradient\(",
        r"SelfTrainingClassifier\(",
        r"def entropy\(",
        r"def k_centre\(",
        r"\.compile\(",
        r"\.fit\(",
        r"gu\.models\.compact_cnn\(",
    ),
    14: (
        r"Image\.open\(",
        r"\.reduce\(",
        r"minimize_scalar\(",
        r"def entropy\(",
        r"gu\.classify\(",
        r"LocalCluster\(",
        r"dask\.delayed\(",
        r"def amdahl\(",
        r"mixed_bfloat16",
        r"format=\"onnx\"",
        r"def residual_block\(",
        r"layers\.Add\(",
        r"applications\.MobileNetV2\(",
        r"nnls\(",
        r"multinomial\(",
        r"def new_mix\(",
        r"precision_recall_curve\(",
    ),
}
WITH_A_DIAGRAM = (3, 4, 5, 7, 8, 9, 13, 14)


def cells(chapter, kind):
    """All cells of one kind of a chapter as one text."""
    (path,) = NOTEBOOKS.glob(f"{chapter:02}_*.ipynb")
    content = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in content if cell["cell_type"] == kind)


@pytest.mark.parametrize("chapter", SHOWN)
def test_what_the_chapter_is_about_is_built_in_its_cells(chapter):
    code = cells(chapter, "code")
    assert [shown for shown in SHOWN[chapter] if not re.search(shown, code)] == []


@pytest.mark.parametrize("chapter", SHOWN)
def test_what_is_built_is_also_a_formula(chapter):
    if chapter != 10:
        assert "$$" in cells(chapter, "markdown")


@pytest.mark.parametrize("chapter", WITH_A_DIAGRAM)
def test_networks_are_drawn(chapter):
    assert "gu.plots.diagram(" in cells(chapter, "code") or "plots.diagram(" in cells(chapter, "code")


def test_the_map_of_topics_leads_to_sections_that_exist():
    """`Where do I learn …` on the landing page: each topic is a link to a section of a chapter."""
    page = (NOTEBOOKS.parent / "book" / "index.md").read_text(encoding="utf-8")
    links = re.findall(r'<a href="notebooks/(\d\d)_[^"#]*\.html#([a-z0-9-]+)">[^<]+</a> \((\d+)\)', page)
    assert len(links) > 35 and {int(chapter) for chapter, _, _ in links} == set(range(1, 15))
    for chapter, section, named in links:
        assert int(chapter) == int(named)
        headings = re.findall(r"^#+ (.*)$", cells(int(chapter), "markdown"), re.MULTILINE)
        assert section in [re.sub("[^a-z0-9]+", "-", heading.lower()).strip("-") for heading in headings]
