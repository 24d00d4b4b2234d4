"""Tell malignant from benign tumours with logistic regression in numpy: a script of no deep-learning framework at all.

Run it alone:       python train.py
On the platform:    tm submit tumours.yaml

What `trial.steps(resume=…)` takes is any object with state_dict and load_state_dict.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer

import trainmaster as tm

NUM_TRAINING = 455  # of 569 patients; the rest validates
STEPS_BETWEEN_VALIDATIONS = 50


class LogisticRegression:
    """Gradient descent with momentum on the mean cross-entropy."""

    def __init__(self, num_features):
        self.weights = np.zeros(num_features + 1)
        self.velocity = np.zeros(num_features + 1)

    def probabilities(self, features):
        return 1 / (1 + np.exp(-(features @ self.weights[:-1] + self.weights[-1])))

    def step(self, features, labels, lr, momentum):
        errors = self.probabilities(features) - labels
        gradient = np.append(features.T @ errors, errors.sum()) / len(labels)
        self.velocity = momentum * self.velocity - lr * gradient
        self.weights = self.weights + self.velocity

    def loss(self, features, labels):
        probabilities = np.clip(self.probabilities(features), 1e-9, 1 - 1e-9)
        return -np.mean(labels * np.log(probabilities) + (1 - labels) * np.log(1 - probabilities))

    def state_dict(self):
        return {"weights": self.weights, "velocity": self.velocity}

    def load_state_dict(self, state):
        self.weights, self.velocity = state["weights"], state["velocity"]


def load_data():
    patients = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(patients.target))
    features, labels = patients.data[order], patients.target[order]
    mean, spread = features[:NUM_TRAINING].mean(axis=0), features[:NUM_TRAINING].std(axis=0)
    features = (features - mean) / spread
    return (features[:NUM_TRAINING], labels[:NUM_TRAINING]), (features[NUM_TRAINING:], labels[NUM_TRAINING:])


with tm.trial(hyperparameters={"lr": 0.1, "momentum": 0.9, "batch_size": 64}, max_length=300) as trial:
    hp = trial.hyperparameters
    (features, labels), validation = load_data()
    model = LogisticRegression(features.shape[1])
    for step in trial.steps(resume=model):
        batch = np.random.choice(NUM_TRAINING, hp.batch_size)  # seeded by tm.trial, and put back when it resumes
        model.step(features[batch], labels[batch], hp.lr, hp.momentum)
        trial.report(step, loss=model.loss(features[batch], labels[batch]))

        if step % STEPS_BETWEEN_VALIDATIONS == 0 or step == trial.max_steps:
            accuracy = np.mean((model.probabilities(validation[0]) > 0.5) == validation[1])
            trial.report_validation(step, accuracy=accuracy, validation_loss=model.loss(*validation))
