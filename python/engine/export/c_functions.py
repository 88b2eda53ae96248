"""The C code of operations, as functions, and of activations, as expressions in x.

`@` stands for the prefix of the names in a header, and `{0}` for the first constant of an activation. Functions that work
row by row, on n numbers each, accept the same array as x and y.
"""

from __future__ import annotations

FUNCTIONS = {
    "product": """\
/* y (rows, units) = x (rows, inputs) times kernel (inputs, units): sums of 256 products, added, lose fewer bits */
static inline void @product(const float *x, const float *kernel, float *y, long rows, long inputs, long units)
{
    for (long row = 0; row < rows; ++row, x += inputs, y += units) {
        for (long first = 0; first < units; first += 16) {
            const long width = units - first < 16 ? units - first : 16;
            for (long j = 0; j < width; ++j) y[first + j] = 0.0f;
            for (long begin = 0; begin < inputs; begin += 256) {
                const long end = inputs - begin < 256 ? inputs : begin + 256;
                float sum[16] = {0.0f};
                for (long i = begin; i < end; ++i) {
                    for (long j = 0; j < width; ++j) sum[j] += x[i] * kernel[i * units + first + j];
                }
                for (long j = 0; j < width; ++j) y[first + j] += sum[j];
            }
        }
    }
}
""",
    "add": """\
/* sum[0] += value; sum[1] keeps what rounding loses */
static inline void @add(float *sum, float value)
{
    const float term = value - sum[1], next = sum[0] + term;
    sum[1] = next - next == 0.0f ? (next - sum[0]) - term : 0.0f; /* nothing of an infinity */
    sum[0] = next;
}
""",
    "row_sum": """\
/* sum of x - mean, or of its square; like the engine in 16 lanes, which overflow where the engine's do */
static inline float @row_sum(const float *x, long n, float mean, int squared)
{
    float sums[16] = {0.0f};
    for (long j = 0; j < n; ++j) sums[j % 16] += squared ? (x[j] - mean) * (x[j] - mean) : x[j] - mean;
    for (int width = 8; width > 0; width /= 2) {
        for (int lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
    }
    return sums[0];
}
""",
    "largest": """\
static inline float @largest(const float *x, long n)
{
    float found = x[0];
    for (long j = 1; j < n; ++j) found = x[j] > found ? x[j] : found;
    return found;
}
""",
    "softmax": """\
/* y = exp(x) / sum(exp(x)), row by row */
static inline void @softmax(const float *x, float *y, long rows, long n)
{
    for (long row = 0; row < rows; ++row, x += n, y += n) {
        const float largest = @largest(x, n);
        float sum[2] = {0.0f, 0.0f};
        for (long j = 0; j < n; ++j) @add(sum, y[j] = expf(x[j] - largest));
        for (long j = 0; j < n; ++j) y[j] /= sum[0];
    }
}
""",
    "log_softmax": """\
/* y = log(exp(x) / sum(exp(x))), row by row */
static inline void @log_softmax(const float *x, float *y, long rows, long n)
{
    for (long row = 0; row < rows; ++row, x += n, y += n) {
        const float largest = @largest(x, n);
        float sum[2] = {0.0f, 0.0f};
        for (long j = 0; j < n; ++j) @add(sum, expf(x[j] - largest));
        const float log_sum = logf(sum[0]);
        for (long j = 0; j < n; ++j) y[j] = x[j] - largest - log_sum;
    }
}
""",
    "sparsemax": """\
/* y = max(x - tau, 0), row by row, with the tau that makes their sum 1 */
static inline void @sparsemax(const float *x, float *y, long rows, long n)
{
    for (long row = 0; row < rows; ++row, x += n, y += n) {
        const float largest = @largest(x, n);
        float tau = -INFINITY;
        long count = 0;
        for (long round = 0; round <= n; ++round) {
            float sum[2] = {-1.0f, 0.0f};
            long above = 0;
            for (long j = 0; j < n; ++j) {
                if (x[j] - largest > tau) {
                    @add(sum, x[j] - largest);
                    ++above;
                }
            }
            if (above == count) break;
            count = above;
            tau = sum[0] / (float)count;
        }
        for (long j = 0; j < n; ++j) y[j] = x[j] - largest < tau ? 0.0f : x[j] - largest - tau;
    }
}
""",
    "standardize": """\
/* y = (x - mean if centred) / sqrt(mean square + epsilon), row by row */
static inline void @standardize(const float *x, float *y, long rows, long n, float epsilon, int centred)
{
    for (long row = 0; row < rows; ++row, x += n, y += n) {
        const float mean = centred ? @row_sum(x, n, 0.0f, 0) / (float)n : 0.0f;
        const float factor = 1.0f / sqrtf(@row_sum(x, n, mean, 1) / (float)n + epsilon);
        for (long j = 0; j < n; ++j) y[j] = (x[j] - mean) * factor;
    }
}
""",
    "unit": """\
/* y = x / sqrt(sum of squares), at least epsilon, row by row */
static inline void @unit(const float *x, float *y, long rows, long n, float epsilon)
{
    for (long row = 0; row < rows; ++row, x += n, y += n) {
        const float length = sqrtf(@row_sum(x, n, 0.0f, 1));
        const float factor = 1.0f / (length > epsilon ? length : epsilon);
        for (long j = 0; j < n; ++j) y[j] = x[j] * factor;
    }
}
""",
    "mean": """\
/* y (n) = mean of x (rows, n) */
static inline void @mean(const float *x, float *y, long rows, long n)
{
    for (long j = 0; j < n; ++j) {
        float sum[2] = {0.0f, 0.0f};
        for (long row = 0; row < rows; ++row) @add(sum, x[row * n + j]);
        y[j] = sum[0] / (float)rows;
    }
}
""",
    "masked_mean": """\
/* y (n) = mean of the rows of x (rows, n) whose mask is 1; 0 if none is */
static inline void @masked_mean(const float *x, const float *mask, float *y, long rows, long n)
{
    float count = 0.0f;
    for (long row = 0; row < rows; ++row) count += mask[row];
    for (long j = 0; j < n; ++j) {
        float sum[2] = {0.0f, 0.0f};
        for (long row = 0; row < rows; ++row) @add(sum, mask[row] * x[row * n + j]);
        y[j] = count > 0.0f ? sum[0] / count : 0.0f;
    }
}
""",
    "row_mask": """\
/* mask (rows) = 1 for rows of x (rows, n) that do not hold value alone, 0 for the others */
static inline void @row_mask(const float *x, float *mask, long rows, long n, float value)
{
    for (long row = 0; row < rows; ++row, x += n) {
        mask[row] = 0.0f;
        for (long j = 0; j < n; ++j) mask[row] = x[j] != value ? 1.0f : mask[row];
    }
}
""",
    "max": """\
/* y (n) = the largest numbers of the columns of x (rows, n) */
static inline void @max(const float *x, float *y, long rows, long n)
{
    for (long j = 0; j < n; ++j) {
        y[j] = x[j];
        for (long row = 1; row < rows; ++row) y[j] = x[row * n + j] > y[j] ? x[row * n + j] : y[j];
    }
}
""",
    "mask": """\
/* y = x, but rows that hold value alone become 0 */
static inline void @mask(const float *x, float *y, long rows, long n, float value)
{
    for (long row = 0; row < rows; ++row, x += n, y += n) {
        int kept = 0;
        for (long j = 0; j < n; ++j) kept |= x[j] != value;
        for (long j = 0; j < n; ++j) y[j] = kept ? x[j] : 0.0f;
    }
}
""",
    "token": """\
/* The index that x stands for, or the nearest, so that nothing is read beyond a table */
static inline long @token(float x, long tokens)
{
    return !(x > 0.0f) ? 0 : x < (float)(tokens - 1) ? (long)x : tokens - 1;
}
""",
    "embed": """\
/* y (count, units) = rows of table (tokens, units), by the indices x (count) */
static inline void @embed(const float *x, const float *table, float *y, long count, long tokens, long units)
{
    for (long i = 0; i < count; ++i, y += units) {
        const float *row = table + @token(x[i], tokens) * units;
        for (long j = 0; j < units; ++j) y[j] = row[j];
    }
}
""",
    "remainder": """\
/* a - b floor(a / b), with the sign of b */
static inline float @remainder(float a, float b)
{
    const float rest = fmodf(a, b);
    return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}
""",
    "erfinv": """\
/* the inverse of erf (M. Giles, "Approximating the erfinv function", 2012) */
static inline float @erfinv(float x)
{
    static const float centre[9] = {2.81022636e-08f, 3.43273939e-07f, -3.5233877e-06f, -4.39150654e-06f, 0.00021858087f,
                                    -0.00125372503f, -0.00417768164f, 0.246640727f, 1.50140941f};
    static const float tail[9] = {-0.000200214257f, 0.000100950558f, 0.00134934322f, -0.00367342844f, 0.00573950773f,
                                  -0.0076224613f, 0.00943887047f, 1.00167406f, 2.83297682f};
    const float w = -logf((1.0f - x) * (1.0f + x));
    const float z = w < 5.0f ? w - 2.5f : sqrtf(w) - 3.0f;
    const float *factors = w < 5.0f ? centre : tail;
    float sum = factors[0];
    for (int i = 1; i < 9; ++i) sum = sum * z + factors[i];
    return fabsf(x) == 1.0f ? x * INFINITY : sum * x;
}
""",
    "dot": """\
/* y (a's outer, a's inner, b's outer, b's inner) = sums of products along the axes between outer and inner; if normalized,
   with the numbers along such an axis divided by the root of their sum of squares, at least 1e-7 */
static inline void @dot(const float *a, const float *b, float *y, long a_outer, long a_inner, long b_outer, long b_inner,
                        long n, int normalized)
{
    for (long p = 0; p < a_outer * a_inner; ++p) {
        const float *x = a + p / a_inner * n * a_inner + p % a_inner;
        for (long q = 0; q < b_outer * b_inner; ++q) {
            const float *z = b + q / b_inner * n * b_inner + q % b_inner;
            float sum[2] = {0.0f, 0.0f}, squares[2] = {0.0f, 0.0f}, others[2] = {0.0f, 0.0f};
            for (long i = 0; i < n; ++i) {
                const float left = x[i * a_inner], right = z[i * b_inner];
                @add(sum, left * right);
                if (normalized) {
                    @add(squares, left * left);
                    @add(others, right * right);
                }
            }
            if (normalized) {
                sum[0] /= sqrtf(squares[0] > 1e-14f ? squares[0] : 1e-14f);
                sum[0] /= sqrtf(others[0] > 1e-14f ? others[0] : 1e-14f);
            }
            *y++ = sum[0];
        }
    }
}
""",
    "encode": """\
/* y (rows, tokens) = how often each token is among x (rows, n), or only whether */
static inline void @encode(const float *x, float *y, long rows, long n, long tokens, int counts)
{
    for (long row = 0; row < rows; ++row, x += n, y += tokens) {
        for (long j = 0; j < tokens; ++j) y[j] = 0.0f;
        for (long i = 0; i < n; ++i) {
            float *entry = y + @token(x[i], tokens);
            *entry = counts ? *entry + 1.0f : 1.0f;
        }
    }
}
""",
}

_SOFTPLUS = "log1pf(expf(-fabsf(x)))"
_HARD_SIGMOID = "(x < -3.0f ? 0.0f : x > 3.0f ? 1.0f : (x + 3.0f) / 6.0f)"

# One entry for each elementwise activation.
ACTIVATIONS = {
    "relu": "x < 0.0f ? 0.0f : x",
    "sigmoid": "1.0f / (1.0f + expf(-x))",
    "tanh": "tanhf(x)",
    "exponential": "expf(x)",
    "silu": "x / (1.0f + expf(-x))",
    "gelu": "0.5f * x * erfcf(x * -0.70710678f)",
    "gelu_tanh": "x / (1.0f + expf(x * -1.5957691f * (1.0f + 0.044715f * x * x)))",
    "mish": f"x * tanhf((x > 0.0f ? x : 0.0f) + {_SOFTPLUS})",
    "softplus": f"(x > 0.0f ? x : 0.0f) + {_SOFTPLUS}",
    "log_sigmoid": f"(x < 0.0f ? x : 0.0f) - {_SOFTPLUS}",
    "softsign": "x / (1.0f + fabsf(x))",
    "tanh_shrink": "x - tanhf(x)",
    "elu": "x > 0.0f ? x : {0} * expm1f(x)",
    "selu": "1.050701f * (x > 0.0f ? x : 1.6732632f * expm1f(x))",
    "celu": "x > 0.0f ? x : {0} * expm1f(x / {0})",
    # From 1e15 on the root is |x| to float precision, and the square could overflow.
    "squareplus": "0.5f * (x < -1e15f ? {0} / (-2.0f * x) : x > 1e15f ? 2.0f * x"
    " : x < 0.0f ? {0} / (sqrtf(x * x + {0}) - x) : x + sqrtf(x * x + {0}))",
    "relu6": "x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x",
    "leaky_relu": "x < 0.0f ? {0} * x : x",
    "general_relu": "(x <= {3} ? 0.0f : x > {1} ? {1} : x) - {0} * (x < {2} ? {2} - x : 0.0f)",
    "hard_tanh": "x < -1.0f ? -1.0f : x > 1.0f ? 1.0f : x",
    "hard_sigmoid": _HARD_SIGMOID,
    "hard_silu": f"x * {_HARD_SIGMOID}",
    "sparse_plus": "x <= -1.0f ? 0.0f : x >= 1.0f ? x : 0.25f * (x + 1.0f) * (x + 1.0f)",
    "sparse_sigmoid": "x < -1.0f ? 0.0f : x > 1.0f ? 1.0f : 0.5f * (x + 1.0f)",
    "soft_shrink": "fabsf(x) <= {0} ? 0.0f : x < 0.0f ? x + {0} : x - {0}",
    "hard_shrink": "fabsf(x) <= {0} ? 0.0f : x",
    "threshold": "x <= {0} ? {1} : x",
}
