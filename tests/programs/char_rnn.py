"""A character-level LSTM: vocabulary, embedding, hidden state carried and detached, clipped, then sampled."""

import torch
import torch.nn as nn

torch.manual_seed(5)
text = "the quick brown fox jumps over the lazy dog. " * 8
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
itos = {i: c for c, i in stoi.items()}
data = torch.tensor([stoi[c] for c in text], dtype=torch.long)


class CharRNN(nn.Module):
    def __init__(self, vocab_size, embed_size=16, hidden_size=32, num_layers=2):
        super().__init__()
        self.num_layers, self.hidden_size = num_layers, hidden_size
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.lstm = nn.LSTM(embed_size, hidden_size, num_layers, batch_first=True, dropout=0.1)
        self.fc = nn.Linear(hidden_size, vocab_size)

    def forward(self, x, hidden):
        out, hidden = self.lstm(self.embedding(x), hidden)
        return self.fc(out.reshape(-1, self.hidden_size)), hidden

    def init_hidden(self, batch_size):
        weight = next(self.parameters())
        shape = (self.num_layers, batch_size, self.hidden_size)
        return weight.new_zeros(shape), weight.new_zeros(shape)


def batchify(data, batch_size):
    n = data.size(0) // batch_size
    return data.narrow(0, 0, n * batch_size).view(batch_size, -1)


model = CharRNN(len(chars))
print(model)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
batches, length = batchify(data, 4), 15
for epoch in range(4):
    hidden = model.init_hidden(4)
    total = 0.0
    for i in range(0, batches.size(1) - length, length):
        inputs, targets = batches[:, i : i + length], batches[:, i + 1 : i + 1 + length].reshape(-1)
        hidden = tuple(h.detach() for h in hidden)
        output, hidden = model(inputs, hidden)
        loss = criterion(output, targets)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} loss {total / (i / length + 1):.4f} norm {norm:.4f}")
model.eval()
with torch.no_grad():
    hidden, char = model.init_hidden(1), torch.tensor([[stoi["t"]]])
    result = "t"
    for _ in range(30):
        output, hidden = model(char, hidden)
        char = torch.multinomial(torch.softmax(output / 0.8, dim=-1), 1)
        result += itos[char.item()]
print(repr(result))
