"""A classifier of sequences of different lengths: padding, packing, LSTM, GRU, attention over steps."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, pad_sequence

torch.manual_seed(0)
seqs = [torch.randint(1, 9, (n,)) for n in (5, 3, 7, 2)]
lengths = torch.tensor([len(s) for s in seqs])
padded = pad_sequence(seqs, batch_first=True)
print(padded)


class Tagger(nn.Module):
    def __init__(self, vocab=10, dim=6, hidden=5, classes=3, cell="lstm"):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.rnn = (nn.LSTM if cell == "lstm" else nn.GRU)(
            dim, hidden, num_layers=2, bidirectional=True, batch_first=True, dropout=0.2
        )
        self.attn = nn.Linear(2 * hidden, 1)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, x, lengths):
        e = self.emb(x)
        packed = pack_padded_sequence(e, lengths, batch_first=True, enforce_sorted=False)
        out, state = self.rnn(packed)
        out, n = pad_packed_sequence(out, batch_first=True)
        mask = torch.arange(out.size(1))[None, :] >= n[:, None]
        score = self.attn(out).squeeze(-1).masked_fill(mask, float("-inf"))
        weight = score.softmax(dim=1)
        return self.fc(torch.bmm(weight.unsqueeze(1), out).squeeze(1)), weight


labels = torch.tensor([0, 1, 2, 1])
for cell in ("lstm", "gru"):
    torch.manual_seed(1)
    model = Tagger(cell=cell)
    print(model)
    opt = torch.optim.Adam(model.parameters(), lr=0.02)
    sched = torch.optim.lr_scheduler.StepLR(opt, step_size=3, gamma=0.5)
    for epoch in range(6):
        model.train()
        opt.zero_grad()
        logits, w = model(padded, lengths)
        loss = nn.functional.cross_entropy(logits, labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        opt.step()
        sched.step()
        print(f"epoch {epoch} loss {loss.item():.4f} norm {norm:.4f} lr {sched.get_last_lr()[0]:.4f}")
    model.eval()
    with torch.no_grad():
        logits, w = model(padded, lengths)
    print(logits.argmax(1), w, model.emb.weight.grad[0], model.emb.weight[0])
p = pack_sequence([torch.arange(3.0), torch.arange(2.0)])
print(p, p.data, p.batch_sizes, pad_packed_sequence(p))
rnn = nn.RNN(3, 4, nonlinearity="relu")
out, h = rnn(torch.randn(5, 2, 3), torch.zeros(1, 2, 4))
print(out.shape, h.shape, out[-1].equal(h[0]))
lstm = nn.LSTM(3, 4, proj_size=2)
out, (h, c) = lstm(torch.randn(5, 2, 3))
print(out.shape, h.shape, c.shape, out)
cell = nn.LSTMCell(3, 4)
h, c = cell(torch.randn(2, 3))
h, c = cell(torch.randn(2, 3), (h, c))
print(h, c)
cell = nn.GRUCell(3, 4)
print(cell(torch.randn(2, 3), torch.zeros(2, 4)))
for n, prm in lstm.named_parameters():
    print(n, tuple(prm.shape))
try:
    lstm(torch.randn(5, 2, 4))
except RuntimeError as e:
    print(e)
try:
    rnn(torch.randn(5, 2, 3), torch.zeros(1, 3, 4))
except RuntimeError as e:
    print(e)
# sampling text
torch.manual_seed(3)
text = "hello world hello there hello you "
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text])


class CharGRU(nn.Module):
    def __init__(self, n, h=16):
        super().__init__()
        self.h = h
        self.e = nn.Embedding(n, 8)
        self.g = nn.GRU(8, h)
        self.o = nn.Linear(h, n)

    def forward(self, x, h=None):
        y, h = self.g(self.e(x), h)
        return self.o(y), h


m = CharGRU(len(chars))
opt = torch.optim.RMSprop(m.parameters(), lr=0.01)
h = None
for it in range(40):
    opt.zero_grad()
    logits, h = m(data[:-1].unsqueeze(1), None if h is None else h.detach())
    loss = nn.functional.cross_entropy(logits.view(-1, len(chars)), data[1:])
    loss.backward()
    opt.step()
    if it % 10 == 0:
        print(it, round(loss.item(), 4), torch.exp(loss).item())


def generate(start, n, temperature):
    h, out = None, start
    x = torch.tensor([[stoi[start]]])
    for _ in range(n):
        logits, h = m(x, h)
        p = torch.softmax(logits[-1, 0] / temperature, dim=0)
        k = torch.multinomial(p, 1).item()
        out += chars[k]
        x = torch.tensor([[k]])
    return out


with torch.no_grad():
    print(repr(generate("h", 30, 0.8)), repr(generate("w", 10, 0.2)))
