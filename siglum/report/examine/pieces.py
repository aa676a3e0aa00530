"""The pieces that a network is looked into by, each with words for whoever learns from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from siglum.lab.examine import answers, attention, attribution, features, filters, layers, maps
from siglum.lab.examine.subject import Subject
from siglum.report.examine import answers as answers_drawn
from siglum.report.examine import embedding, inside, network, reasons
from siglum.report.examine.canvas import Canvas, Look
from siglum.report.examine.network import Table


@dataclass(frozen=True)
class Piece:
    """One way to look into a network."""

    title: str
    make: Callable[[Subject], Any]  # arrays; raises DoesNotApplyError
    finding: Callable[[Any], str]  # a sentence about them, without its full stop
    draw: Callable[[Any, Look], Canvas]
    shows: str  # what the picture shows
    beware: str  # what not to conclude from it
    table: Callable[[Any], Table] | None = None  # what is printed


def _layers(subject: Subject) -> tuple[layers.Layer, ...]:
    return layers.layers(subject.model, subject.shape)


PIECES: dict[str, Piece] = {
    "layers": Piece(
        "Its layers",
        _layers,
        network.layers_finding,
        network.draw_layers,
        "Every step from the picture to the scores: what it is, the size of what comes out for a "
        "batch of 2 pictures (batch × channels × height × width), how many numbers it has learned, "
        "and how often it multiplies and adds for one picture.",
        "Parameters are not time, and neither is a measure of quality: most parameters often sit "
        "in one linear layer, most arithmetic in a convolution.",
        network.layer_table,
    ),
    "diagram": Piece(
        "Its shape",
        _layers,
        network.layers_finding,
        network.draw_diagram,
        "The sizes that a picture goes through, from left to right: maps as sheets behind each "
        "other, vectors as bars. Under each stands what made it and what was done to it since.",
        "Boxes are drawn so that they can be seen, not to scale: sides by their square root, "
        "the number of sheets by its logarithm.",
    ),
    "first": Piece(
        "The first pictures",
        answers.first,
        answers_drawn.first_finding,
        answers_drawn.draw_first,
        "Pictures as they reach the network: cut to its square, ink as it lies there, with the "
        "true class underneath.",
        "A few pictures tell what the set is about, not how varied it is or whether its labels "
        "are right.",
    ),
    "filters": Piece(
        "Its filters",
        filters.filters,
        inside.filters_finding,
        inside.draw_filters,
        "The weights of each filter: it answers strongly where a picture has ink under orange and "
        "paper under blue. Some look for edges of one direction, some for dots.",
        "A filter of few pixels is a small thing: it has no name such as 'loop' or 'stroke', and "
        "many look like noise in networks that work well. Trained again from another seed, the "
        "filters are others.",
    ),
    "effect": Piece(
        "What each filter does",
        filters.effect,
        inside.effect_finding,
        inside.draw_effect,
        "Beside each filter, what it makes of one picture by itself: at every pixel the sum of "
        "ink times weight around it, orange above 0 and blue below. No bias is added and nothing "
        "cut off, so the network's own next step is not in it yet.",
        "A filter that does little on this picture may matter on another. What the later layers "
        "make of it cannot be read from here.",
    ),
    "maps": Piece(
        "What every layer makes of a picture",
        maps.maps,
        inside.maps_finding,
        inside.draw_maps,
        "The output of every layer for one picture, from the first to the scores: maps as "
        "squares, vectors as strips. Deeper maps are coarser: each cell has seen more of the "
        "picture. A ReLU leaves only what is above 0.",
        "Each layer has a scale of its own, so colours cannot be compared between layers. A map "
        "that lights up on a curve here is no 'curve detector' until many pictures show it.",
    ),
    "saliency": Piece(
        "Saliency",
        attribution.saliency,
        reasons.attribution_finding,
        reasons.draw_attribution,
        "How steeply the score of the answer would change if a pixel were made a little darker or "
        "lighter, whichever way.",
        "Saliency is not a reason: it says what a tiny change would do, not what the answer is "
        "made of, and it is noisy from pixel to pixel. Bright pixels on paper are places where "
        "ink would matter, though there is none.",
    ),
    "integrated_gradients": Piece(
        "Integrated gradients",
        attribution.integrated_gradients,
        reasons.attribution_finding,
        reasons.draw_attribution,
        "What each pixel adds to the score of the answer on the way from blank paper to this "
        "picture: orange for it, blue against it. All pixels together add exactly what the "
        "picture's score is above that of blank paper.",
        "It depends on what it starts from: against blank paper, missing ink can never count. "
        "The sum is shared out among pixels that worked together.",
    ),
    "occlusion": Piece(
        "Occlusion",
        attribution.occlusion,
        reasons.attribution_finding,
        reasons.draw_attribution,
        "How much the score of the answer falls when a small square is covered with paper: orange "
        "where covering hurts the answer, blue where it helps.",
        "A picture with a hole is none that the network was trained on, so part of the fall is "
        "surprise. Of two strokes that say the same, covering one may change nothing.",
    ),
    "attention": Piece(
        "Attention",
        attention.examine_attention,
        reasons.attention_finding,
        reasons.draw_attention,
        "How much each cell of the picture gives to the others, for every layer and head, as "
        "times an even share: 1 is what it would be if all cells were treated alike.",
        "Attention is not importance. It says where values are taken from, not what is made of "
        "them, and from the second layer on every cell holds a mixture of all.",
    ),
    "answers": Piece(
        "Its answers in numbers",
        answers.answers,
        answers_drawn.answers_finding,
        answers_drawn.draw_answers,
        "The natural logarithm of the probability of every class, the best match and the truth. "
        "0 is certain, −0.69 is one half, −4.6 one in a hundred.",
        "So few pictures say next to nothing about how often it is right; the run's report does, "
        "with an interval. A network can be sure and wrong.",
        answers_drawn.answer_table,
    ),
    "predictions": Piece(
        "Its answers",
        answers.predictions,
        answers_drawn.answers_finding,
        answers_drawn.draw_predictions,
        "Pictures in the order of the set, with the answer under each. Wrong ones have a frame, "
        "the word and the truth.",
        "They were not chosen for being hard or easy; the run's report shows the worst mistakes.",
    ),
    "nearest": Piece(
        "What lies near",
        features.nearest,
        answers_drawn.nearest_finding,
        answers_drawn.draw_nearest,
        "For each picture the training pictures whose features, the numbers that the last layer "
        "reads, point most nearly the same way; 1 is the same direction. A class in colour is "
        "not the one answered.",
        "They are near in this network's features only, which is how it sees, not how alike they "
        "are. They did not cause the answer: training has mixed all pictures into the weights.",
    ),
    "embedding": Piece(
        "A map of its features",
        features.embedding,
        embedding.embedding_finding,
        embedding.draw_embedding,
        "Each picture at a place given by its features. Left, the two directions in which they "
        "vary most; right, t-SNE, which keeps near pictures near. A name stands at the middle of "
        "its class. Pictures amid another class are worth a look.",
        "In t-SNE, distances between groups and the sizes of groups mean nothing, and another "
        "seed draws another map. What overlaps in two dimensions may lie apart in all of them.",
    ),
}
