"""Weight tying and a word-embedding model: a shared matrix, CBOW n-grams, cosine neighbours."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

torch.manual_seed(1)
CONTEXT_SIZE, EMBEDDING_DIM = 2, 10
sentence = """When forty winters shall besiege thy brow, And dig deep trenches in thy beauty's field,
Thy youth's proud livery so gazed on now, Will be a totter'd weed of small worth held""".split()
ngrams = [
    ([sentence[i - j - 1] for j in range(CONTEXT_SIZE)], sentence[i])
    for i in range(CONTEXT_SIZE, len(sentence))
]
vocab = sorted(set(sentence))
word_to_ix = {word: i for i, word in enumerate(vocab)}


class NGramLanguageModeler(nn.Module):
    def __init__(self, vocab_size, embedding_dim, context_size):
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.linear1 = nn.Linear(context_size * embedding_dim, embedding_dim)
        self.decoder = nn.Linear(embedding_dim, vocab_size, bias=False)
        self.decoder.weight = self.embeddings.weight

    def forward(self, inputs):
        embeds = self.embeddings(inputs).view((1, -1))
        out = F.relu(self.linear1(embeds))
        return F.log_softmax(self.decoder(out), dim=1)


loss_function = nn.NLLLoss()
model = NGramLanguageModeler(len(vocab), EMBEDDING_DIM, CONTEXT_SIZE)
print(sum(p.numel() for p in model.parameters()), [n for n, _ in model.named_parameters()])
print(list(model.state_dict()), model.decoder.weight is model.embeddings.weight)
optimizer = optim.SGD(model.parameters(), lr=0.01)
for epoch in range(3):
    total_loss = 0
    for context, target in ngrams:
        context_idxs = torch.tensor([word_to_ix[w] for w in context], dtype=torch.long)
        model.zero_grad()
        log_probs = model(context_idxs)
        loss = loss_function(log_probs, torch.tensor([word_to_ix[target]], dtype=torch.long))
        loss.backward()
        optimizer.step()
        total_loss += loss.item()
    print(total_loss)
print(model.embeddings.weight[word_to_ix["winters"]])
with torch.no_grad():
    e = F.normalize(model.embeddings.weight, dim=1)
    values, indices = (e @ e.T).fill_diagonal_(-1).topk(2, dim=1)
    print(
        [
            (vocab[i], vocab[j], round(v.item(), 3))
            for i, (j, v) in enumerate(zip(indices[:4, 0], values[:4, 0]))
        ]
    )
bag = nn.EmbeddingBag(len(vocab), 4, mode="mean", padding_idx=0)
print(bag(torch.tensor([1, 2, 0, 4, 5]), torch.tensor([0, 3])).shape, bag)
