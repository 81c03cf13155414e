// The decode loop of a Qwen3 policy in float32: prompts are read once, then up to `lanes` responses grow side by side, and
// a response that ends leaves its lane to the next one. Every response is computed as if it were alone: its numbers depend
// neither on the lanes nor on its neighbours, so no cut of the work into calls or threads changes one.
//
// One call holds all of its memory; there is no state between calls. Sums run in a fixed order, and nothing here needs
// -ffast-math: NaN and infinity go through every step, so a broken policy gives log-probabilities that are not finite.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <vector>

#if defined(__AVX512F__)
constexpr int W = 16;  // floats in a vector
#elif defined(__AVX__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif
#if defined(__AVX__) && !defined(__AVX512F__)
constexpr int TILE = 4;  // rows of a tile of the matrix product: 2 * TILE sums are within 16 registers
#else
constexpr int TILE = 8;
#endif
constexpr int PANEL = 2 * W;  // columns of a tile
constexpr int HEAD_MAX = 512;  // largest head size
constexpr int PREFILL = 512;  // prompt tokens that are worked on at once

typedef float vec __attribute__((vector_size(4 * W)));
typedef float loose __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint32_t bits __attribute__((vector_size(4 * W)));

extern "C" {

struct Layer {
  const float* qkv;     // panels of [(heads + 2 kv) * width, hidden], the layer norm's weight multiplied in
  const float* out;     // panels of [hidden, heads * width]
  const float* gate_up; // panels of [2 * inner rounded up to a panel, hidden], the layer norm's weight multiplied in
  const float* down;    // panels of [hidden, inner]
  const float* q_norm;  // [width]
  const float* k_norm;  // [width]
};

struct Model {
  int64_t layers, hidden, heads, kv, width, inner, vocabulary, positions;  // positions: rows of cosine and sine
  float eps, padding;
  const Layer* layer;
  const float* embedding;  // [vocabulary, hidden]
  const float* head;       // panels of [vocabulary, hidden], the last norm's weight multiplied in
  const float* cosine;     // [positions, width / 2]
  const float* sine;
};

struct Job {
  int64_t prompts, n, max_tokens, lanes, top_k, stops;
  uint64_t seed, first_row;  // the number of this call's first response within all that the seed is for
  double temperature, top_p, min_p;
  const int64_t* ids;      // tokens of all prompts, one after another
  const int64_t* lengths;  // [prompts]
  const int64_t* stop;     // [stops]
  const int32_t* cancel;   // not 0: the call ends as soon as it sees that
  int32_t* tokens;         // out, [prompts * n, max_tokens]
  float* logprobs;         // out, [prompts * n, max_tokens]
  int64_t* ends;           // out, [prompts * n]: tokens of each response
  uint8_t* stopped;        // out, [prompts * n]: 1 where the last token is a stop token
};

int64_t panel_columns() { return PANEL; }
int64_t decode(const Model* model, const Job* job);
double uniform_of(uint64_t seed, uint64_t row, uint64_t step);

}  // extern "C"

namespace {

int64_t up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

inline vec load(const float* p) { return *reinterpret_cast<const loose*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<loose*>(p) = v; }
inline vec every(float x) { return x - vec{}; }

inline float sum(vec v) {
  float total = 0;
  for (int i = 0; i < W; i++) total += v[i];
  return total;
}

inline vec lanes_index() {
  vec v{};
  for (int i = 0; i < W; i++) v[i] = static_cast<float>(i);
  return v;
}

// e^x within 2e-7 of itself: 2^k e^r with |r| <= ln 2 / 2 (the polynomial is that of the Cephes library); 0 below -87,
// e^88 above 88, NaN for NaN.
inline vec exponential(vec x) {
  const vec low = every(-87.0f), high = every(88.0f), magic = every(12582912.0f);  // 1.5 * 2^23: rounds to a whole number
  vec y = (x < low) ? low : x;
  y = (y > high) ? high : y;
  vec shifted = y * 1.44269504088896341f + magic;
  vec k = shifted - magic;
  vec r = y - k * 0.693359375f;
  r = r - k * -2.12194440e-4f;
  vec p = every(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  bits whole;
  std::memcpy(&whole, &shifted, sizeof whole);
  bits power = (whole - 0x4B400000u + 127u) << 23;
  vec scale;
  std::memcpy(&scale, &power, sizeof scale);
  return (x < low) ? vec{} : p * scale;
}

// c[m, :] = (add ? c[m, :] : 0) + a[m, :] b for `rows` rows (rounded up to a tile: the buffers are), b in panels of
// [k][PANEL]. Every row's sums run over k in order, whatever the tile holds beside it.
void product(const float* a, int64_t lda, const float* b, float* c, int64_t ldc, int64_t rows, int64_t k, int64_t columns,
             bool add) {
  for (int64_t n = 0; n < columns; n += PANEL, b += k * PANEL) {
    for (int64_t m = 0; m < rows; m += TILE) {
      vec left[TILE], right[TILE];
      for (int i = 0; i < TILE; i++) left[i] = right[i] = vec{};
      const float* row = a + m * lda;
      const float* line = b;
      for (int64_t j = 0; j < k; j++, line += PANEL) {
        const vec x = load(line), y = load(line + W);
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) {
          const float value = row[i * lda + j];
          left[i] += value * x;
          right[i] += value * y;
        }
      }
      for (int i = 0; i < TILE; i++) {
        float* to = c + (m + i) * ldc + n;
        store(to, add ? load(to) + left[i] : left[i]);
        store(to + W, add ? load(to + W) + right[i] : right[i]);
      }
    }
  }
}

// y = x / rms(x); `stride` is a multiple of W and beyond `size` x is 0.
void normalize(const float* x, float* y, int64_t rows, int64_t size, int64_t stride, float eps) {
  for (int64_t m = 0; m < rows; m++, x += stride, y += stride) {
    vec squares{};
    for (int64_t i = 0; i < stride; i += W) squares += load(x + i) * load(x + i);
    const float scale = 1.0f / std::sqrt(sum(squares) / static_cast<float>(size) + eps);
    for (int64_t i = 0; i < stride; i += W) store(y + i, load(x + i) * scale);
  }
}

// One head's query or key, in place: normalized, weighted, turned to its position.
void turn(float* x, const float* weight, const float* cosine, const float* sine, int64_t width, float eps) {
  float y[HEAD_MAX];
  vec squares{};
  int64_t i = 0;
  for (; i + W <= width; i += W) squares += load(x + i) * load(x + i);
  float total = sum(squares);
  for (; i < width; i++) total += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(total / static_cast<float>(width) + eps);
  for (i = 0; i < width; i++) y[i] = x[i] * scale * weight[i];
  const int64_t half = width / 2;
  for (i = 0; i < half; i++) {
    x[i] = y[i] * cosine[i] - y[half + i] * sine[i];
    x[half + i] = y[half + i] * cosine[i] + y[i] * sine[i];
  }
}

// Keys and values of one head over one stretch of positions: keys in blocks of [width][W positions], values [position][wide].
struct Stretch {
  const float* keys;
  const float* values;
  int64_t count;
};

// Attention of G query heads that share a key-value head over two stretches (the prompt's, the response's own).
template <int G>
void attend(const float* q, float* out, const Stretch* stretch, float* scores, int64_t stride, int64_t width, int64_t wide) {
  const vec index = lanes_index(), nothing = every(-std::numeric_limits<float>::infinity());
  const float scale = 1.0f / std::sqrt(static_cast<float>(width));
  vec top[G];
  for (int h = 0; h < G; h++) top[h] = nothing;
  int64_t at = 0;
  for (int part = 0; part < 2; part++) {
    const float* keys = stretch[part].keys;
    for (int64_t t = 0; t < stretch[part].count; t += W, at += W) {
      vec s[G];
      for (int h = 0; h < G; h++) s[h] = vec{};
      for (int64_t d = 0; d < width; d++, keys += W) {
        const vec key = load(keys);
        for (int h = 0; h < G; h++) s[h] += q[h * width + d] * key;
      }
      const vec left = every(static_cast<float>(std::min<int64_t>(W, stretch[part].count - t)));
      for (int h = 0; h < G; h++) {
        s[h] = (index < left) ? s[h] : nothing;
        store(scores + h * stride + at, s[h]);
        top[h] = (s[h] > top[h]) ? s[h] : top[h];
      }
    }
  }
  float share[G];
  for (int h = 0; h < G; h++) {
    float largest = top[h][0];
    for (int i = 1; i < W; i++) largest = top[h][i] > largest ? top[h][i] : largest;
    vec total{};
    for (int64_t t = 0; t < at; t += W) {
      const vec e = exponential((load(scores + h * stride + t) - largest) * scale);
      store(scores + h * stride + t, e);
      total += e;
    }
    share[h] = 1.0f / sum(total);
  }
  constexpr int U = G > 2 ? 2 : 4;  // sums that run side by side
  for (int64_t d = 0; d < wide; d += W) {
    vec o[U][G];
    for (int u = 0; u < U; u++)
      for (int h = 0; h < G; h++) o[u][h] = vec{};
    const float* p = scores;
    for (int part = 0; part < 2; part++) {
      const float* values = stretch[part].values + d;
      const int64_t count = stretch[part].count;
      int64_t t = 0;
      for (; t + U <= count; t += U)
#pragma GCC unroll 4
        for (int u = 0; u < U; u++) {
          const vec value = load(values + (t + u) * wide);
          for (int h = 0; h < G; h++) o[u][h] += p[h * stride + t + u] * value;
        }
      for (; t < count; t++) {
        const vec value = load(values + t * wide);
        for (int h = 0; h < G; h++) o[0][h] += p[h * stride + t] * value;
      }
      p += up(count, W);
    }
    for (int h = 0; h < G; h++) {
      vec all = o[0][h];
      for (int u = 1; u < U; u++) all += o[u][h];
      all *= share[h];
      const int64_t real = std::min<int64_t>(W, width - d);
      std::memcpy(out + h * width + d, &all, sizeof(float) * static_cast<size_t>(real));
    }
  }
}

uint64_t mixed(uint64_t z) {  // the finalizer of splitmix64
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// Draws one token as eprli_lab/backends/local/drawing.py does: temperature, min_p, top_k, top_p, inverse CDF.
class Drawer {
 public:
  Drawer(const Job& job, int64_t vocabulary)
      : job_(job), size_(vocabulary), logits_(up(vocabulary, W)), weights_(up(vocabulary, W)), sums_(vocabulary) {}

  // The token; its log-probability goes to `logprob` (NaN where the logits are no distribution).
  int32_t draw(const float* logits, double uniform, float* logprob) {
    const int64_t padded = static_cast<int64_t>(logits_.size());
    const float outside = -std::numeric_limits<float>::infinity();
    const float temperature = static_cast<float>(job_.temperature);
    const bool greedy = job_.temperature == 0.0;
    for (int64_t i = 0; i < size_; i++) logits_[i] = greedy || temperature == 1.0f ? logits[i] : logits[i] / temperature;
    for (int64_t i = size_; i < padded; i++) logits_[i] = outside;
    int64_t token = std::max_element(logits_.begin(), logits_.begin() + size_) - logits_.begin();
    const float top = logits_[token];
    double total = accumulate(top);
    if (!(std::isfinite(top) && std::isfinite(total))) {
      *logprob = std::numeric_limits<float>::quiet_NaN();
      return static_cast<int32_t>(size_ - 1);
    }
    if (!greedy) {
      if (filters()) {
        keep();
        total = accumulate(top);
      }
      const auto place = std::upper_bound(sums_.begin(), sums_.end(), uniform * total);
      token = std::min<int64_t>(place - sums_.begin(), size_ - 1);
    }
    *logprob = static_cast<float>(static_cast<double>(logits_[token]) - top - std::log(total));
    return static_cast<int32_t>(token);
  }

 private:
  bool filters() const { return job_.min_p > 0.0 || (job_.top_k > 0 && job_.top_k < size_) || job_.top_p < 1.0; }

  double accumulate(float top) {
    for (size_t i = 0; i < weights_.size(); i += W) store(&weights_[i], exponential(load(&logits_[i]) - top));
    double total = 0;
    for (int64_t i = 0; i < size_; i++) sums_[i] = total += weights_[i];
    return total;
  }

  // What the filters leave out goes to -inf. The weights are those of all tokens; the largest of them is 1.
  void keep() {
    const float outside = -std::numeric_limits<float>::infinity();
    if (job_.min_p > 0.0)
      for (int64_t i = 0; i < size_; i++)
        if (weights_[i] < static_cast<float>(job_.min_p)) logits_[i] = outside;
    if (job_.top_k > 0 && job_.top_k < size_) {
      ordered_.assign(logits_.begin(), logits_.begin() + size_);
      std::nth_element(ordered_.begin(), ordered_.begin() + (job_.top_k - 1), ordered_.end(), std::greater<float>());
      const float least = ordered_[job_.top_k - 1];
      for (int64_t i = 0; i < size_; i++)
        if (logits_[i] < least) logits_[i] = outside;
    }
    if (job_.top_p < 1.0) nucleus(outside);
  }

  void nucleus(float outside) {
    order_.resize(size_);
    std::iota(order_.begin(), order_.end(), int64_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) { return logits_[a] > logits_[b]; });
    const double top = logits_[order_[0]];
    double total = 0, above = 0;
    for (int64_t i : order_) total += std::exp(logits_[i] - top);
    bool beyond = false;
    for (int64_t i : order_) {
      const double share = std::exp(logits_[i] - top) / total;
      beyond = beyond || (above >= job_.top_p && i != order_[0]);
      if (beyond) logits_[i] = outside;
      above += share;
    }
  }

  const Job& job_;
  int64_t size_;
  std::vector<float> logits_, weights_, ordered_;
  std::vector<double> sums_;
  std::vector<int64_t> order_;
};

// Where the keys and values of one layer's and one head's blocks begin: block b of [layers][kv][blocks].
struct Cache {
  std::vector<float> keys, values;
  int64_t blocks = 0, kv = 0, width = 0, wide = 0;

  void make(int64_t layers, int64_t heads, int64_t count, int64_t size, int64_t stride) {
    blocks = count, kv = heads, width = size, wide = stride;
    keys.assign(static_cast<size_t>(layers * kv * blocks * width * W), 0.0f);
    values.assign(static_cast<size_t>(layers * kv * blocks * W * wide), 0.0f);
  }
  int64_t start(int64_t layer, int64_t head, int64_t block) const { return (layer * kv + head) * blocks + block; }
  void put(int64_t layer, int64_t head, int64_t block, int64_t position, const float* key, const float* value) {
    const int64_t at = start(layer, head, block + position / W);
    for (int64_t d = 0; d < width; d++) keys[(at * width + d) * W + position % W] = key[d];
    std::memcpy(&values[(at * W + position % W) * wide], value, sizeof(float) * static_cast<size_t>(width));
  }
  Stretch part(int64_t layer, int64_t head, int64_t block, int64_t count) const {
    if (count == 0) return {keys.data(), values.data(), 0};
    const int64_t at = start(layer, head, block);
    return {&keys[at * width * W], &values[at * W * wide], count};
  }
};

// One token of the prompt or the response that goes through the layers.
struct Place {
  int64_t prompt, own_block, position;  // own_block: where its response's blocks begin; -1: it is a prompt's token
};

class Policy {
 public:
  Policy(const Model& model, const Job& job)
      : m_(model), job_(job), hidden_(up(m_.hidden, PANEL)), inner_(up(m_.inner, PANEL)),
        fused_((m_.heads + 2 * m_.kv) * m_.width), fused_up_(up(fused_, PANEL)), wide_(up(m_.width, W)),
        vocabulary_(up(m_.vocabulary, PANEL)), drawer_(job, m_.vocabulary) {
    int64_t longest = 0, total = 0, blocks = 0, token = 0;
    for (int64_t p = 0; p < job_.prompts; p++) {
      longest = std::max(longest, job_.lengths[p]);
      total += job_.lengths[p];
      first_block_.push_back(blocks);
      first_id_.push_back(token);
      blocks += up(job_.lengths[p], W) / W;
      token += job_.lengths[p];
    }
    lanes_ = std::min(job_.lanes, job_.prompts * job_.n);
    own_blocks_ = up(std::max<int64_t>(job_.max_tokens - 1, 1), W) / W;
    prompt_.make(m_.layers, m_.kv, blocks, m_.width, wide_);
    own_.make(m_.layers, m_.kv, own_blocks_ * lanes_, m_.width, wide_);
    const int64_t at_once = std::min(total, std::max<int64_t>(PREFILL, longest));
    rows_ = up(std::max(at_once, lanes_), TILE);
    x_.assign(rows_ * hidden_, 0.0f), h_.assign(rows_ * hidden_, 0.0f), q_.assign(rows_ * fused_up_, 0.0f);
    a_.assign(rows_ * m_.heads * m_.width, 0.0f), u_.assign(rows_ * 2 * inner_, 0.0f);
    first_.assign(job_.prompts * vocabulary_, 0.0f), logits_.assign(up(lanes_, TILE) * vocabulary_, 0.0f);
    score_stride_ = up(longest, W) + own_blocks_ * W;
    scores_.assign(4 * score_stride_, 0.0f);
  }

  // False where it was cancelled.
  bool run() {
    if (!prefill()) return false;
    std::vector<Place> places;
    std::vector<int64_t> row, input;
    int64_t next = 0;
    const int64_t all = job_.prompts * job_.n;
    std::vector<int64_t> free_slots(lanes_);
    std::iota(free_slots.begin(), free_slots.end(), int64_t{0});
    for (;;) {
      while (static_cast<int64_t>(row.size()) < lanes_ && next < all) {
        const int64_t r = next++;
        const int32_t token = choose(r, 0, &first_[r / job_.n * vocabulary_]);
        if (job_.ends[r] != 0) continue;
        places.push_back({r / job_.n, free_slots.back() * own_blocks_, 0});
        free_slots.pop_back();
        row.push_back(r), input.push_back(token);
      }
      if (row.empty()) return true;
      if (cancelled()) return false;
      const int64_t count = static_cast<int64_t>(row.size());
      for (int64_t i = 0; i < count; i++) embed(i, input[i]);
      layers(places.data(), count);
      normalize(x_.data(), h_.data(), count, m_.hidden, hidden_, m_.eps);
      product(h_.data(), hidden_, m_.head, logits_.data(), vocabulary_, count, m_.hidden, vocabulary_, false);
      int64_t kept = 0;
      for (int64_t i = 0; i < count; i++) {
        const int64_t r = row[i];
        const int32_t token = choose(r, places[i].position + 1, &logits_[i * vocabulary_]);
        if (job_.ends[r] != 0) {
          free_slots.push_back(places[i].own_block / own_blocks_);
          continue;
        }
        places[kept] = places[i];
        places[kept].position++;
        row[kept] = r, input[kept++] = token;
      }
      places.resize(kept), row.resize(kept), input.resize(kept);
    }
  }

 private:
  // Draws token number `step` of response r and notes it; sets the response's end where this is its last token.
  int32_t choose(int64_t r, int64_t step, const float* logits) {
    const int64_t at = r * job_.max_tokens + step;
    const double uniform = uniform_of(job_.seed, job_.first_row + static_cast<uint64_t>(r), static_cast<uint64_t>(step));
    const int32_t token = drawer_.draw(logits, uniform, job_.logprobs + at);
    job_.tokens[at] = token;
    const bool stops = std::find(job_.stop, job_.stop + job_.stops, token) != job_.stop + job_.stops;
    if (stops || step + 1 == job_.max_tokens) job_.ends[r] = step + 1;
    job_.stopped[r] = stops;
    return token;
  }

  void embed(int64_t row, int64_t token) {
    std::memcpy(&x_[row * hidden_], m_.embedding + token * m_.hidden, sizeof(float) * static_cast<size_t>(m_.hidden));
    std::fill(&x_[row * hidden_] + m_.hidden, &x_[row * hidden_] + hidden_, 0.0f);
  }

  // Reads the prompts, as many whole ones at once as the buffers hold; their next-token logits go to first_. False
  // where it was cancelled.
  bool prefill() {
    std::vector<Place> places;
    for (int64_t begin = 0; begin < job_.prompts;) {
      if (cancelled()) return false;
      places.clear();
      int64_t end = begin;
      for (; end < job_.prompts && static_cast<int64_t>(places.size()) + job_.lengths[end] <= rows_; end++)
        for (int64_t t = 0; t < job_.lengths[end]; t++) {
          embed(static_cast<int64_t>(places.size()), job_.ids[first_id_[end] + t]);
          places.push_back({end, -1, t});
        }
      layers(places.data(), static_cast<int64_t>(places.size()));
      int64_t last = -1;
      for (int64_t p = begin; p < end; p++) {  // every prompt's last token, moved together
        last += job_.lengths[p];
        if (last != p - begin) std::memcpy(&x_[(p - begin) * hidden_], &x_[last * hidden_], sizeof(float) * hidden_);
      }
      normalize(x_.data(), h_.data(), end - begin, m_.hidden, hidden_, m_.eps);
      for (int64_t p = begin; p < end; p += up(lanes_, TILE)) {
        const int64_t count = std::min(end - p, up(lanes_, TILE));
        product(&h_[(p - begin) * hidden_], hidden_, m_.head, logits_.data(), vocabulary_, count, m_.hidden, vocabulary_, false);
        std::memcpy(&first_[p * vocabulary_], logits_.data(), sizeof(float) * count * vocabulary_);
      }
      begin = end;
    }
    return true;
  }

  bool cancelled() const { return __atomic_load_n(job_.cancel, __ATOMIC_RELAXED) != 0; }

  void layers(const Place* places, int64_t rows) {
    const int64_t width = m_.width, out = m_.heads * width;
    for (int64_t l = 0; l < m_.layers; l++) {
      const Layer& w = m_.layer[l];
      normalize(x_.data(), h_.data(), rows, m_.hidden, hidden_, m_.eps);
      product(h_.data(), hidden_, w.qkv, q_.data(), fused_up_, rows, m_.hidden, fused_up_, false);
      for (int64_t i = 0; i < rows; i++) remember(l, places[i], &q_[i * fused_up_]);
      for (int64_t i = 0; i < rows; i++) attention(l, places[i], &q_[i * fused_up_], &a_[i * out]);
      product(a_.data(), out, w.out, x_.data(), hidden_, rows, out, hidden_, true);
      normalize(x_.data(), h_.data(), rows, m_.hidden, hidden_, m_.eps);
      product(h_.data(), hidden_, w.gate_up, u_.data(), 2 * inner_, rows, m_.hidden, 2 * inner_, false);
      for (int64_t i = 0; i < rows; i++) {
        float* gate = &u_[i * 2 * inner_];
        for (int64_t j = 0; j < inner_; j += W) {
          const vec g = load(gate + j);
          store(gate + j, g / (1.0f + exponential(-g)) * load(gate + inner_ + j));
        }
      }
      product(u_.data(), 2 * inner_, w.down, x_.data(), hidden_, rows, m_.inner, hidden_, true);
    }
  }

  // Turns a token's queries and keys to its position, and puts its keys and values into the cache.
  void remember(int64_t l, const Place& place, float* fused) {
    const Layer& w = m_.layer[l];
    const bool own = place.own_block >= 0;
    const int64_t position = place.position + (own ? job_.lengths[place.prompt] : 0), half = m_.width / 2;
    const float* cosine = m_.cosine + position * half;
    const float* sine = m_.sine + position * half;
    for (int64_t j = 0; j < m_.heads + m_.kv; j++)
      turn(fused + j * m_.width, j < m_.heads ? w.q_norm : w.k_norm, cosine, sine, m_.width, m_.eps);
    Cache& cache = own ? own_ : prompt_;
    const int64_t block = own ? place.own_block : first_block_[place.prompt];
    for (int64_t j = 0; j < m_.kv; j++)
      cache.put(l, j, block, place.position, fused + (m_.heads + j) * m_.width, fused + (m_.heads + m_.kv + j) * m_.width);
  }

  void attention(int64_t l, const Place& place, const float* fused, float* out) {
    const bool own = place.own_block >= 0;
    const int64_t group = m_.heads / m_.kv, width = m_.width;
    for (int64_t j = 0; j < m_.kv; j++) {
      const int64_t seen = own ? job_.lengths[place.prompt] : place.position + 1;
      const Stretch stretch[2] = {prompt_.part(l, j, first_block_[place.prompt], seen),
                                  own_.part(l, j, own ? place.own_block : 0, own ? place.position + 1 : 0)};
      const float* q = fused + j * group * width;
      float* to = out + j * group * width;
      int64_t g = 0;
      for (; g + 4 <= group; g += 4) attend<4>(q + g * width, to + g * width, stretch, scores_.data(), score_stride_, width, wide_);
      for (; g + 2 <= group; g += 2) attend<2>(q + g * width, to + g * width, stretch, scores_.data(), score_stride_, width, wide_);
      for (; g < group; g++) attend<1>(q + g * width, to + g * width, stretch, scores_.data(), score_stride_, width, wide_);
    }
  }

  const Model& m_;
  const Job& job_;
  const int64_t hidden_, inner_, fused_, fused_up_, wide_, vocabulary_;  // sizes rounded up to panels (wide_: to vectors)
  Drawer drawer_;
  int64_t lanes_ = 0, own_blocks_ = 0, rows_ = 0, score_stride_ = 0;
  std::vector<int64_t> first_block_, first_id_;
  Cache prompt_, own_;
  std::vector<float> x_, h_, q_, a_, u_, first_, logits_, scores_;
};

bool sound(const Model& m, const Job& job) {
  const int64_t sizes[] = {m.layers, m.hidden, m.heads, m.kv, m.width, m.inner, m.vocabulary, job.prompts, job.n,
                           job.max_tokens, job.lanes};
  for (int64_t size : sizes)
    if (size < 1 || size > (int64_t{1} << 31)) return false;
  if (m.heads % m.kv || m.width % 2 || m.width > HEAD_MAX || job.stops < 0 || job.top_k < 0) return false;
  if (!(job.temperature >= 0.0 && job.top_p > 0.0 && job.min_p >= 0.0)) return false;
  int64_t at = 0;
  for (int64_t p = 0; p < job.prompts; p++) {
    if (job.lengths[p] < 1 || job.lengths[p] + job.max_tokens > m.positions) return false;
    for (int64_t t = 0; t < job.lengths[p]; t++, at++)
      if (job.ids[at] < 0 || job.ids[at] >= m.vocabulary) return false;
  }
  return true;
}

}  // namespace

// In [0, 1), of the 2^53 that a double has there: token number `step` of response number `row`.
double uniform_of(uint64_t seed, uint64_t row, uint64_t step) {
  const uint64_t stream = mixed(mixed(seed + 0x9e3779b97f4a7c15ULL) ^ (row * 0xd1342543de82ef95ULL));
  return static_cast<double>(mixed(stream + (step + 1) * 0x9e3779b97f4a7c15ULL) >> 11) * 0x1.0p-53;
}

// 0: done; 1: sizes, lengths or tokens that cannot be; 2: no memory; 4: cancelled.
int64_t decode(const Model* model, const Job* job) {
  try {
    if (!sound(*model, *job)) return 1;
    std::fill(job->ends, job->ends + job->prompts * job->n, int64_t{0});
    return Policy(*model, *job).run() ? 0 : 4;
  } catch (const std::bad_alloc&) {
    return 2;
  } catch (...) {
    return 3;
  }
}
