//! How often a random pipeline takes each operator: the default of the transition weights.
//!
//! A weight says how often the operator helps, for its price, on tables that nobody has seen yet; a search moves away from it by
//! what it finds. An operator that is not listed, such as a plugin, has weight 1.

/// The weight of an operator.
pub fn weight(operator: &str) -> f64 {
    WEIGHTS.iter().find(|(name, _)| *name == operator).map_or(1.0, |(_, weight)| *weight)
}

const WEIGHTS: [(&str, f64); 71] = [
    // Estimators.
    ("gradient_boosting", 5.0),
    ("random_forest", 2.0),
    ("extra_trees", 2.0),
    ("rbf_svm", 1.5),
    ("mlp", 1.5),
    ("logistic", 1.5),
    ("ridge", 0.8),
    ("lda", 1.0),
    ("qda", 1.0),
    ("knn", 1.0),
    ("linear_svm", 0.6),
    ("gaussian_process", 0.6),
    ("kernel_ridge", 0.6),
    ("stacker", 0.6),
    ("adaboost", 0.4),
    ("bagging", 0.4),
    ("elastic_net", 0.4),
    ("lasso", 0.3),
    ("bayesian_ridge", 0.3),
    ("sgd", 0.3),
    ("huber", 0.3),
    ("poisson", 0.3),
    ("gaussian_nb", 0.4),
    ("decision_tree", 0.3),
    ("nearest_centroid", 0.2),
    ("bernoulli_nb", 0.2),
    ("multinomial_nb", 0.2),
    ("prior", 0.01),
    // Encoders and imputers.
    ("one_hot", 3.0),
    ("target_encode", 1.5),
    ("ordinal", 1.0),
    ("count_encode", 0.5),
    ("hash_encode", 0.3),
    ("rare_levels", 0.4),
    ("date_parts", 0.6),
    ("text_tfidf", 1.0),
    ("row_statistics", 0.2),
    // Only where rows are curves.
    ("row_curve", 2.0),
    ("impute", 4.0),
    ("iterative_impute", 0.4),
    ("knn_impute", 0.3),
    ("missing_indicator", 0.05),
    // Scaling.
    ("standard_scale", 4.0),
    ("quantile_transform", 1.5),
    ("power_transform", 1.5),
    ("robust_scale", 0.7),
    ("min_max_scale", 0.7),
    ("max_abs_scale", 0.2),
    ("clip_outliers", 0.4),
    ("log_transform", 0.4),
    ("normalize", 0.2),
    ("bin", 0.4),
    ("spline", 0.6),
    ("passthrough", 0.05),
    // Projection and construction.
    ("pca", 1.0),
    ("randomized_pca", 0.2),
    ("fast_ica", 0.3),
    ("nystroem", 0.8),
    ("random_kitchen_sinks", 0.4),
    ("random_projection", 0.1),
    ("polynomial", 0.8),
    ("interactions", 0.8),
    ("feature_agglomeration", 0.3),
    ("kmeans_distance", 0.3),
    ("pls", 0.4),
    ("lda_projection", 0.5),
    ("tree_embedding", 0.5),
    // Selection.
    ("select_k_best", 0.8),
    ("select_by_tree", 0.6),
    ("variance_threshold", 0.2),
    ("correlation_filter", 0.4),
];
