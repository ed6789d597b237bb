"""One fit by one of halfstep's solvers: J, the certificate's gap, seconds.

The options are `ExplicitMF`'s parameters.
"""

from __future__ import annotations

import numpy as np
from common import answer, arguments, load

import halfstep as hs
from halfstep.solvers import solver_from_dict


def main() -> None:
    given = arguments(__doc__)
    options = dict(given.options)
    options["solver"] = solver_from_dict(options["solver"])
    hs.set_num_threads(given.threads)
    ratings = hs.Ratings.from_arrays(*load(given.folder))
    model = hs.ExplicitMF(**options).fit(ratings)
    certificate = model.certificate()
    rank = int(np.count_nonzero(model.factors_.singular_values() > 1e-3))
    answer(
        version=hs.__version__,
        objective=model.trace_[-1].objective,
        gap=certificate.gap,
        rank=rank,
        seconds=sum(sum(row.seconds.values()) for row in model.trace_),
        sweeps=model.n_iter_,
        stopped=model.stopped_,
    )


if __name__ == "__main__":
    main()
