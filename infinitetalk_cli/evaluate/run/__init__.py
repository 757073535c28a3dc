"""One method on one split: dub or take, check, score, sum up."""
