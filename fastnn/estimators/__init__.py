"""scikit-learn's interface: classifier, regressor, and what they share."""
