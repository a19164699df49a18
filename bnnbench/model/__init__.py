"""What is learned: the problem a method sees, likelihoods, priors, predictive distributions."""
