"""A transformer language model: sinusoidal positions, a causal mask, warm-up, clipping, perplexity."""

import math
from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import TransformerEncoder, TransformerEncoderLayer

torch.manual_seed(2)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int = 100):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pe[: x.size(0)]
        return self.dropout(x)


class TransformerModel(nn.Module):
    def __init__(self, ntoken: int, d_model: int, nhead: int, d_hid: int, nlayers: int, dropout: float):
        super().__init__()
        self.pos_encoder = PositionalEncoding(d_model, dropout)
        layer = TransformerEncoderLayer(d_model, nhead, d_hid, dropout)
        self.transformer_encoder = TransformerEncoder(layer, nlayers, enable_nested_tensor=False)
        self.embedding = nn.Embedding(ntoken, d_model)
        self.d_model = d_model
        self.linear = nn.Linear(d_model, ntoken)
        self.init_weights()

    def init_weights(self) -> None:
        initrange = 0.1
        self.embedding.weight.data.uniform_(-initrange, initrange)
        self.linear.bias.data.zero_()
        self.linear.weight.data.uniform_(-initrange, initrange)

    def forward(self, src: Tensor, src_mask: Optional[Tensor] = None) -> Tensor:
        src = self.embedding(src) * math.sqrt(self.d_model)
        src = self.pos_encoder(src)
        output = self.transformer_encoder(src, src_mask)
        return self.linear(output)


ntokens, bptt = 20, 12
model = TransformerModel(ntokens, 32, 4, 64, 2, 0.2)
mask = nn.Transformer.generate_square_subsequent_mask(bptt)
print(mask[:3, :4], [name for name, _ in model.named_buffers()])
corpus = (torch.arange(400) * 7 % 13 + torch.randint(0, 2, (400,))).view(8, -1).t().contiguous()
criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 4))


def loss_of(data, targets):
    output = model(data, mask)
    return criterion(output.view(-1, ntokens), targets)


# compiled: loss_of = torch.compile_grad(loss_of)
for epoch in range(3):
    model.train()
    total_loss = 0.0
    for i in range(0, 36, bptt):
        data, targets = corpus[i : i + bptt], corpus[i + 1 : i + 1 + bptt].reshape(-1)
        loss = loss_of(data, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
        total_loss += loss.item()
    print(
        f"| epoch {epoch:3d} | lr {scheduler.get_last_lr()[0]:.5f} | loss {total_loss / 3:5.3f} | "
        f"ppl {math.exp(total_loss / 3):8.3f}"
    )
model.eval()
with torch.no_grad():
    output = model(corpus[:bptt], mask)
    print(
        output.shape,
        output.argmax(-1)[-1],
        criterion(output.view(-1, ntokens), corpus[1 : bptt + 1].reshape(-1)),
    )
