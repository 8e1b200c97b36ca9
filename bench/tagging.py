"""How well and how fast the tagger reads real reviews: `python -m bench.tagging --data DIR`.

DIR has `reviews/reviews_train.csv.gz` (columns category, label, review; label 1 is positive). The
reviews are nobody's to publish, so only figures leave this script.
"""

import argparse
import csv
import gzip
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from feedback.tagging import tag
from feedback.taxonomy import current_taxonomy

REVIEWS = Path("reviews") / "reviews_train.csv.gz"


class Review(NamedTuple):
    """A labelled review."""

    category: str
    positive: bool
    text: str


class Score(NamedTuple):
    """How many of some reviews were read rightly."""

    right: int
    total: int

    @property
    def share(self) -> float:
        """The accuracy."""
        return self.right / self.total


def reviews_in(folder: Path) -> Iterator[Review]:
    """The labelled reviews of a data folder."""
    with gzip.open(folder / REVIEWS, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield Review(row["category"], row["label"] == "1", row["review"])


def measure(reviews: Sequence[Review]) -> tuple[dict[str, Score], float]:
    """Accuracy per category, and seconds per review. A mood of exactly 0 counts as positive."""
    taxonomy = current_taxonomy()
    tag("", taxonomy)
    right: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    started = time.perf_counter()
    for review in reviews:
        found = tag(review.text, taxonomy).polarity >= 0
        total[review.category] += 1
        right[review.category] += found == review.positive
    seconds = time.perf_counter() - started
    return {name: Score(right[name], total[name]) for name in total}, seconds / len(reviews)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of real texts")
    folder: Path = parser.parse_args(arguments).data
    if not (folder / REVIEWS).exists():
        sys.stderr.write(f"{REVIEWS} is not in the data folder\n")
        return 2
    scores, seconds = measure(list(reviews_in(folder)))
    for name, score in sorted(scores.items(), key=lambda entry: entry[1].share):
        print(f"{score.share:6.3f}  {score.total:6d}  {name}")
    whole = Score(sum(s.right for s in scores.values()), sum(s.total for s in scores.values()))
    print(f"{whole.share:6.3f}  {whole.total:6d}  all; {seconds * 1e6:.0f} µs a review")
    return 0


if __name__ == "__main__":
    sys.exit(main())
