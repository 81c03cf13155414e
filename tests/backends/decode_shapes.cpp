// Every size of policy, prompt and job through the decode loop, for the sanitizers: prints the number of calls that ran.
#include DECODE

#include <cstdio>
#include <random>

namespace {

std::mt19937 rng(7);

int64_t between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng); }

std::vector<float> numbers(int64_t count) {
  std::vector<float> out(count);
  std::normal_distribution<float> normal(0.0f, 0.4f);
  for (float& x : out) x = normal(rng);
  return out;
}

// Panels of [outputs, inputs]; only their size matters here.
std::vector<float> panels(int64_t outputs, int64_t inputs) { return numbers(up(outputs, PANEL) * inputs); }

}  // namespace

int main() {
  int calls = 0;
  const int32_t never = 0;
  for (int round = 0; round < 400; round++) {
    const int64_t kv = between(1, 3), heads = kv * between(1, 9), width = 2 * between(1, 20), layers = between(1, 2);
    const int64_t hidden = between(1, 40), inner = between(1, 70), vocabulary = between(1, 90);
    std::vector<std::vector<float>> kept;
    auto keep = [&](std::vector<float> v) { return kept.push_back(std::move(v)), kept.back().data(); };
    kept.reserve(64);
    std::vector<Layer> stack;
    for (int64_t l = 0; l < layers; l++)
      stack.push_back({keep(panels((heads + 2 * kv) * width, hidden)), keep(panels(hidden, heads * width)),
                       keep(numbers(2 * up(inner, PANEL) * hidden)), keep(panels(hidden, inner)), keep(numbers(width)),
                       keep(numbers(width))});
    Job job{};
    job.prompts = between(1, 5), job.n = between(1, 6), job.max_tokens = between(1, 40), job.lanes = between(1, 20);
    std::vector<int64_t> lengths, ids, stops;
    int64_t longest = 0;
    for (int64_t p = 0; p < job.prompts; p++) {
      lengths.push_back(between(1, round % 50 == 0 ? 700 : 40));
      longest = std::max(longest, lengths.back());
      for (int64_t t = 0; t < lengths.back(); t++) ids.push_back(between(0, vocabulary - 1));
    }
    for (int64_t s = between(0, 3); s > 0; s--) stops.push_back(between(0, vocabulary - 1));
    const bool wrong = round % 29 == 0;
    if (wrong) ids[static_cast<size_t>(between(0, static_cast<int64_t>(ids.size()) - 1))] = between(0, 1) ? vocabulary : -1;
    const int64_t positions = longest + job.max_tokens;
    float* embedding = keep(numbers(vocabulary * hidden));
    const float bad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38f, 1e-42f};
    if (round % 7 == 0) embedding[between(0, vocabulary * hidden - 1)] = bad[between(0, 3)];
    Model model{layers, hidden, heads, kv, width, inner, vocabulary, positions, 1e-6f, 0.0f, stack.data(), embedding,
                keep(panels(vocabulary, hidden)), keep(numbers(positions * width / 2)), keep(numbers(positions * width / 2))};
    const int64_t rows = job.prompts * job.n;
    std::vector<int32_t> tokens(rows * job.max_tokens);
    std::vector<float> logprobs(rows * job.max_tokens);
    std::vector<int64_t> ends(rows);
    std::vector<uint8_t> stopped(rows);
    job.stops = static_cast<int64_t>(stops.size()), job.seed = rng(), job.first_row = rng();
    const double temperatures[] = {0.0, 1.0, 0.3, 1e-30}, nucleus[] = {1.0, 0.5, 1e-9}, floors[] = {0.0, 0.1, 1.0};
    job.temperature = temperatures[between(0, 3)], job.top_p = nucleus[between(0, 2)], job.min_p = floors[between(0, 2)];
    job.top_k = between(0, 1) ? 0 : between(1, 100);
    job.ids = ids.data(), job.lengths = lengths.data(), job.stop = stops.data(), job.cancel = &never;
    job.tokens = tokens.data(), job.logprobs = logprobs.data(), job.ends = ends.data(), job.stopped = stopped.data();
    if ((decode(&model, &job) == 1) != wrong) return std::fprintf(stderr, "round %d: a wrong answer\n", round), 1;
    if (wrong) continue;
    calls++;
    for (int64_t r = 0; r < rows; r++) {
      bool fine = ends[r] >= 1 && ends[r] <= job.max_tokens;
      for (int64_t t = 0; fine && t < ends[r]; t++) fine = tokens[r * job.max_tokens + t] >= 0 && tokens[r * job.max_tokens + t] < vocabulary;
      if (!fine) return std::fprintf(stderr, "round %d: response %ld is none\n", round, static_cast<long>(r)), 1;
    }
  }
  std::printf("%d calls\n", calls);
}
