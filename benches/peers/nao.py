"""Times a fit of NAO's encoder, predictor and decoder in PyTorch: the sizes, the loss and the end of `nao` here.

    python benches/peers/nao.py [CELLS] [EPOCHS]

Trains on 300 random cells of NAS-Bench-201 (six tokens of five words), with a thread for each core that it may use: LSTM encoder with unit-norm states, a
linear predictor with a sigmoid on their mean, LSTM decoder with attention whose softmax sees the legal words; 0.8 MSE + 0.2 NLL,
Adam, batches of 50, gradients clipped at 5, L2 1e-4, dropout .1. It ends after 20 passes without 1 % of progress, as `nao` does, or
after EPOCHS passes. `cargo run --release -p benches --example nao -- speed` is the other side. Needs `torch`.
"""

import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional

STEPS, WORDS, EMBEDDING, HIDDEN, BATCH = 6, 6, 32, 96, 50


class Networks(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, EMBEDDING)
        self.encoder = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.predictor = nn.Linear(HIDDEN, 1)
        self.words = nn.Embedding(WORDS, HIDDEN)
        self.decoder = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.combine = nn.Linear(2 * HIDDEN, HIDDEN)
        self.output = nn.Linear(HIDDEN, WORDS)

    def forward(self, tokens):
        states, _ = self.encoder(functional.dropout(self.embedding(tokens), 0.1, self.training))
        states = functional.normalize(states, dim=2)
        prediction = torch.sigmoid(self.predictor(states.mean(1))).squeeze(1)
        start = states[:, -1].unsqueeze(0).contiguous()
        shifted = functional.pad(tokens[:, :-1], (1, 0))
        decoded, _ = self.decoder(self.words(shifted), (start, start))
        shares = torch.softmax(self.query(decoded) @ states.transpose(1, 2), 2)
        combined = torch.tanh(self.combine(torch.cat([shares @ states, decoded], 2)))
        logits = self.output(combined)
        logits[:, :, 0] = float("-inf")  # the start is never legal
        return prediction, logits


def fit(cells, epochs):
    tokens = torch.randint(1, WORDS, (cells, STEPS))
    scores = ((tokens * torch.arange(1, STEPS + 1)).sum(1) % 7).float()
    scores = (scores - scores.min()) / (scores.max() - scores.min())
    model = Networks()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    best, since, passes = float("inf"), 0, 0
    start = time.perf_counter()
    while passes < (epochs or 1000) and (epochs or since < 20):
        total = 0.0
        for index in torch.randperm(cells).split(BATCH):
            prediction, logits = model(tokens[index])
            mse = functional.mse_loss(prediction, scores[index])
            nll = functional.cross_entropy(logits.reshape(-1, WORDS), tokens[index].reshape(-1))
            loss = 0.8 * mse + 0.2 * nll
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item() * len(index)
        passes += 1
        since = 0 if total / cells < best * 0.99 else since + 1
        best = min(best, total / cells)
    return passes, time.perf_counter() - start


def main():
    numbers = [int(arg) for arg in sys.argv[1:3]] + [300, 0][len(sys.argv[1:3]):]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(1)
    fit(50, 2)
    passes, seconds = fit(*numbers)
    print(f"torch {torch.__version__}: {passes} passes in {seconds:.2f} s, {1e3 * seconds / passes:.1f} ms a pass")


if __name__ == "__main__":
    main()
