"""A peer's implicit ALS from given item factors: its scores of all pairs. In the peers' environments.

The options name the library, its own parameters, and how many sweeps of it: users, then items.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sps
from common import answer, arguments, load

Factors = tuple[np.ndarray, np.ndarray]


def of_implicit(table: sps.csr_matrix, start: np.ndarray, sweeps: int, **own: Any) -> Factors:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=start.shape[1], iterations=sweeps, use_cg=False, dtype=np.float64, **own
    )
    model.item_factors = start.astype(np.float64)
    model.fit(table, show_progress=False)
    return model.user_factors, model.item_factors


def of_irspack(table: sps.csr_matrix, start: np.ndarray, sweeps: int, **own: Any) -> Factors:
    from irspack.recommenders.ials import IALSRecommender

    made = IALSRecommender(table, n_components=start.shape[1], solver_type="CHOLESKY", **own)
    trainer = made._create_trainer()
    trainer.core_trainer.item = start
    for _ in range(sweeps):
        trainer.run_epoch()
    return trainer.core_trainer.user, trainer.core_trainer.item


def of_lenskit(table: sps.csr_matrix, start: np.ndarray, sweeps: int, **own: Any) -> Factors:
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    cells = table.tocoo()
    frame = pd.DataFrame({"user_id": cells.row, "item_id": cells.col, "rating": cells.data})
    scorer = ImplicitMFScorer(embedding_size=start.shape[1], **own)
    trainer = scorer.create_trainer(from_interactions_df(frame), TrainingOptions(rng=0))
    scorer.item_embeddings[:] = start  # all users and items have cells: their order is ours
    for _ in range(sweeps):
        trainer.train_epoch()
    return scorer.user_embeddings, scorer.item_embeddings


PEERS = {"implicit": of_implicit, "irspack": of_irspack, "lenskit": of_lenskit}


def main() -> None:
    given = arguments(__doc__)
    folder: Path = given.folder
    users, items, counts = load(folder)
    table = sps.csr_matrix((counts, (users, items)))
    library, sweeps = given.options["library"], given.options["sweeps"]
    own = given.options["own"]
    W, Z = PEERS[library](table, np.load(folder / "start.npy"), sweeps, **own)
    np.save(folder / "scores.npy", W.astype(np.float64) @ Z.astype(np.float64).T)
    answer(version=version(library))


if __name__ == "__main__":
    main()
