"""The problems that users have, in their words: for the command line, the chooser of the site and docs/losses.md."""

from __future__ import annotations

from lossreg.search.problem import Problem

PROBLEMS = (
    Problem(
        "start",
        "I want one loss that usually works",
        "Start with `bce_dice_focal` for masks, and with `dice` and `cross_entropy` in a `weighted_sum` for classes.",
        "begin beginner default first simple baseline standard general which recommend good best",
        ("bce_dice_focal", "weighted_sum", "dice", "cross_entropy"),
    ),
    Problem(
        "thin_structures",
        "Thin structures break apart",
        "`cldice` with `dice` rewards an unbroken centre line. Skeleton recall costs less in each step: `targeted` on"
        " `skeleton=hard_skeleton(masks)`.",
        "thin vessels vascular cracks roads rivers wires cables nerves neurons fibres roots airways lines branches"
        " tubular elongated curvilinear centreline centerline skeleton connectivity connected gaps broken topology",
        ("cldice", "targeted"),
        tags="topology",
    ),
    Problem(
        "empty_masks",
        "Most masks are empty",
        "`absent: false_positives` gives an empty mask a gradient that does not vanish. `absent: ignore` leaves it out"
        " of the mean, and `absent: zero` makes it cost nothing.",
        "empty absent missing negative tiles patches slices nothing no object background only blank healthy",
        ("bce_dice_focal", "dice", "tversky", "focal"),
        parameters=("absent",),
    ),
    Problem(
        "imbalance",
        "The object covers few pixels",
        "Overlap losses such as `dice` count the foreground alone, and `focal` gives easy pixels less weight. Use one"
        " of them beside `bce`, or `bce_dice_focal`. For classes, `background: false` in `dice` leaves class 0 out.",
        "imbalance imbalanced unbalanced foreground background sparse few small share skewed predicts only background"
        " collapse black all zero",
        ("bce_dice_focal", "dice", "focal", "tversky", "unified_focal", "squared_dice"),
        tags="imbalance",
        parameters=("pos_weight",),
    ),
    Problem(
        "rare_classes",
        "Some classes are rare",
        "`generalized_dice` weighs each class by the inverse of its volume. `unified_focal` and `lovasz_softmax` need"
        " no weights of classes. `class_weight` sets them by hand.",
        "rare class classes imbalance minority long tail underrepresented infrequent weights multiclass",
        ("generalized_dice", "unified_focal", "lovasz_softmax", "ohem_cross_entropy", "topk", "cross_entropy"),
        tags="imbalance & multiclass",
        parameters=("class_weight",),
    ),
    Problem(
        "small_objects",
        "Small objects beside large ones are missed",
        "`per_region` of `dice` lets each object count the same, with `regions=components(masks)` and"
        " `background: shared`, or with `voronoi` of them.",
        "small tiny objects lesions cells nuclei tumours tumors metastases instances components missed detection size",
        ("per_region", "matched"),
        tags="instances",
    ),
    Problem(
        "recall",
        "Misses are worse than false alarms",
        "`tversky` with `beta` above `alpha` punishes misses more, and with `alpha` above `beta` false alarms."
        " `unified_focal` does both for pixels and areas; `pos_weight` of `bce` is the simplest.",
        "recall sensitivity misses missed false negatives screening precision false positives alarms trade off"
        " undersegmentation oversegmentation",
        ("tversky", "focal_tversky", "unified_focal", "asymmetric_focal_tversky", "asymmetric_focal", "bce"),
    ),
    Problem(
        "outlines",
        "Outlines are blurred or off",
        "`boundary` with `dice`, its weight rising in a `scheduled` sum, or `hausdorff_dt`. Without maps of distances:"
        " `hausdorff_er` and `boundary_dou`.",
        "outlines edges boundary boundaries contours borders surface blurred blurry smooth sharp jagged distance"
        " hausdorff organs buildings",
        ("boundary", "hausdorff_dt", "hausdorff_er", "boundary_dou", "scheduled"),
        tags="boundary",
    ),
    Problem(
        "touching_objects",
        "Objects that touch are merged",
        "Weigh the pixels between them: `weight=border_weights(labels)` in the call of `bce`, `cross_entropy` or"
        " `bce_dice_focal`. Queries for each object: `matched`.",
        "touch touching merge merged separate glued adjacent neighbours cells nuclei crowded split instances",
        ("bce_dice_focal", "bce", "cross_entropy", "matched"),
    ),
    Problem(
        "hard_pixels",
        "Most pixels are easy, and the hard ones do not improve",
        "`focal` gives easy pixels less weight. `topk` and `ohem_cross_entropy` count the hardest alone. All three"
        " follow wrong labels, too.",
        "hard easy examples pixels mining ohem focus confusing difficult",
        ("focal", "topk", "ohem_cross_entropy", "point_sampled", "asymmetric_focal", "poly1"),
        tags="hard_examples",
    ),
    Problem(
        "noisy_labels",
        "Labels are noisy or doubtful",
        "`label_smoothing` of `bce` and `cross_entropy` limits what a wrong label costs. Doubtful pixels get less by"
        " `weight=` of the call. Avoid losses that look for hard pixels: wrong labels are hard.",
        "noisy noise doubtful wrong labels annotation mistakes uncertain weak pseudo crowd outliers robust smoothing",
        ("bce", "cross_entropy", "dice"),
        tags="smoothing & (classification | pixelwise)",
        parameters=("label_smoothing", "smooth_factor"),
    ),
    Problem(
        "several_answers",
        "Several masks are plausible",
        "`sam2` trains the best of several predictions of one object; `sam` trains all of them and the quality that the"
        " model states for each. The mean of several annotators is a soft target, which `bce` takes.",
        "ambiguous ambiguity plausible several multiple hypotheses annotators experts raters disagreement soft",
        ("sam2", "sam", "bce"),
    ),
    Problem(
        "ignore",
        "Some pixels have no label",
        "`ignore_index` names the value of pixels that count nowhere. `weight=` of the call takes a weight for each.",
        "ignore ignored regions unlabelled unlabeled void partial incomplete 255 dont care mask out padding border",
        ("cross_entropy", "bce_dice_focal", "dice", "focal"),
        parameters=("ignore_index",),
    ),
    Problem(
        "memory",
        "Out of memory, or too slow",
        "`point_sampled` computes a loss on some thousand points of each mask. Several losses in one `weighted_sum`"
        " read the pixels once. For outlines, `boundary_dou` needs no maps of distances.",
        "memory oom cuda slow fast speed large huge high resolution volumes 3d cost cheap efficient",
        ("point_sampled", "bce_dice_focal", "weighted_sum", "boundary_dou"),
    ),
    Problem(
        "metric",
        "The result is judged by Dice or IoU",
        "`dice` and `jaccard` are those scores with probabilities. `lovasz_hinge` (masks) and `lovasz_softmax`"
        " (classes) follow the IoU of hard masks.",
        "metric score measure iou miou jaccard dice f1 intersection over union overlap benchmark leaderboard",
        ("dice", "jaccard", "lovasz_hinge", "lovasz_softmax", "mcc"),
        tags="overlap | (ranking & segmentation)",
    ),
    Problem(
        "sizes",
        "Sizes or counts matter",
        "`region_size` with a small weight beside `cross_entropy` draws the predicted area to the true one.",
        "size sizes volume volumes area count counts share proportion biomass ejection fraction",
        ("region_size",),
    ),
    Problem(
        "hierarchy",
        "Some confusions are worse than others",
        "`wasserstein_dice` takes the distances between classes: a near class costs less than a far one.",
        "hierarchy tree taxonomy similar classes confusion costs ordinal order grades parts regions",
        ("wasserstein_dice",),
    ),
    Problem(
        "nearly_right",
        "Training stalls when masks are nearly right",
        "`power` of `dice` with an `exponent` below 1, or with `log: true`, keeps the gradient of such masks large."
        " `focal_tversky` does so for each class.",
        "stalls stuck plateau vanishing gradient saturates slow end last percent converge",
        ("power", "focal_tversky", "log_cosh_dice"),
    ),
    Problem(
        "confidence",
        "Probabilities should mean what they say",
        "`bce` and `cross_entropy` reward honest probabilities; Dice alone makes them extreme. `iou_prediction` trains"
        " the quality that a model states for its own mask.",
        "calibration calibrated confidence overconfident probability probabilities uncertainty threshold trust",
        ("bce", "cross_entropy", "iou_prediction"),
        tags="calibration",
    ),
    Problem(
        "mix",
        "Several losses are to be combined",
        "`weighted_sum` adds losses with factors. `scheduled` changes the factors with the step,"
        " `uncertainty_weighting` learns them, and `product` needs none.",
        "mix mixture combine combination sum add weights balance schedule warmup warm-up anneal learned compound",
        ("weighted_sum", "scheduled", "uncertainty_weighting", "product", "bce_dice_focal", "unified_focal"),
        tags="mixture",
    ),
    Problem(
        "heads",
        "The model has several outputs",
        "`deep_supervision` for one target at several resolutions, `targeted` for a further target, and"
        " `uncertainty_weighting` for several tasks.",
        "heads outputs auxiliary multi-task multitask multiscale decoder levels deep supervision resolutions",
        ("deep_supervision", "targeted", "uncertainty_weighting"),
        tags="deep_supervision",
    ),
    Problem(
        "sets_of_masks",
        "Each object needs a mask of its own",
        "`matched` pairs queries with objects, with the terms of Mask2Former or MaskFormer.",
        "instances panoptic objects detection detr queries hungarian matching mask2former maskformer sets",
        ("matched", "per_region"),
        tags="instances",
    ),
    Problem(
        "sam",
        "I fine-tune Segment Anything",
        "`sam` for several masks of one prompt, `sam2` for the outputs of SAM 2's trainer, `spatial_relevance` with"
        " texts. Beside them, losses of masks take `task: shared`.",
        "sam sam2 segment anything fine-tune finetune prompts points boxes medsam mobilesam foundation text caption",
        ("sam", "sam2", "iou_prediction", "spatial_relevance", "text_region_contrast"),
        tags="sam",
    ),
    Problem(
        "classification",
        "Whole images are classified",
        "These losses come from torch, timm, pytorch-toolbelt and pytorch-metric-learning.",
        "classify classification classifier labels categories imagenet multi-label mixup",
        tags="classification",
    ),
    Problem(
        "embeddings",
        "Alike inputs should have near embeddings",
        "Start with `pml/triplet_margin`, `pml/nt_xent` or `pml/supcon`.",
        "embeddings metric learning similarity retrieval faces recognition contrastive triplet pairs representation"
        " pretraining simclr self-supervised",
        tags="metric_learning | self_supervised",
    ),
    Problem(
        "images",
        "Images are restored or compared",
        "Start with `piq/ssim` or `piq/ms_ssim` beside `torch/l1`.",
        "restoration denoising deblurring super-resolution reconstruction quality perceptual ssim psnr generation",
        tags="image_quality | generative",
    ),
    Problem(
        "numbers",
        "Numbers are predicted",
        "`torch/smooth_l1` and `torch/huber` count outliers less than `torch/mse` does.",
        "numbers regression values continuous depth heatmap keypoints landmarks boxes counts outliers",
        tags="regression & !image_quality",
    ),
    Problem(
        "registration",
        "Two images are aligned",
        "Similarity by `monai/local_ncc` or mutual information, plus a smoothness of the field such as"
        " `monai/bending_energy`.",
        "registration align alignment deformation displacement flow warp mutual information",
        tags="registration",
    ),
)
