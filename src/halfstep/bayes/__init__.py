"""The probabilistic model: priors, the Gibbs sampler, and what is kept of its draws."""
