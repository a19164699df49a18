/* The words of Threefry-2x32-20 and the normals made of them, for draws on a CPU.

   Built by native.py with the system's compiler, and equal to the bit to threefry.py, where the mathematics is
   explained. Therefore no a * b + c may be contracted (-ffp-contract=off), and every constant is a float. Loops over
   counters are written so that compilers vectorise them: no branches, no calls, no memory but the two outputs. */

#include <stdint.h>
#include <string.h>

#if defined _WIN32
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

typedef struct {
    uint32_t a, b;
} words;

#define ROUND(r) x0 += x1, x1 = (x1 << r | x1 >> (32 - r)) ^ x0
#define EVEN ROUND(13), ROUND(15), ROUND(26), ROUND(6)
#define ODD ROUND(17), ROUND(29), ROUND(16), ROUND(24)
#define INJECT(k, l, n) x0 += k, x1 += l + n

/* Encrypts the counter words (x0, x1) with the key words (k0, k1). */
static inline words threefry(uint32_t k0, uint32_t k1, uint32_t x0, uint32_t x1)
{
    const uint32_t k2 = k0 ^ k1 ^ 0x1BD11BDA;
    INJECT(k0, k1, 0);
    EVEN, INJECT(k1, k2, 1);
    ODD, INJECT(k2, k0, 2);
    EVEN, INJECT(k0, k1, 3);
    ODD, INJECT(k1, k2, 4);
    EVEN, INJECT(k2, k0, 5);
    return (words){x0, x1};
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Box-Muller: two normals from two words, as their bits. */
static inline words box_muller(words w)
{
    const int32_t a = (int32_t)w.a, b = (int32_t)w.b;
    const float u = __builtin_fabsf((float)a + 0.5f);
    const int32_t exponent = (int32_t)(bits_of(u) - 0x3F3504F3) >> 23; /* of a signed number: keeps the sign */
    const float m = float_of(bits_of(u) - ((uint32_t)exponent << 23)) - 1;
    float log = 7.0376836292e-2f * m + -1.1514610310e-1f;
    log = log * m + 1.1676998740e-1f;
    log = log * m + -1.2420140846e-1f;
    log = log * m + 1.4249322787e-1f;
    log = log * m + -1.6668057665e-1f;
    log = log * m + 2.0000714765e-1f;
    log = log * m + -2.4999993993e-1f;
    log = log * m + 3.3333331174e-1f;
    log = log * m + -0.5f;
    const float r2 = (float)(31 - exponent) * 1.3862943611198906f - 2 * (m * m * log + m);
    const float radius = __builtin_sqrtf(r2);
    const float t = (float)b * 0x1p-31f, t2 = t * t;
    float sine = 0.000150820561f * t2 + -0.00467222789f;
    sine = sine * t2 + 0.079688482f;
    sine = sine * t2 + -0.645963371f;
    sine = sine * t2 + 1.57079625f;
    sine = t * sine;
    float cosine = 0.000858190644f * t2 + -0.0208106283f;
    cosine = cosine * t2 + 0.253650755f;
    cosine = cosine * t2 + -1.23369825f;
    cosine = cosine * t2 + 0.99999994f;
    return (words){bits_of((a < 0 ? -radius : radius) * cosine), bits_of(radius * sine)};
}

/* The outputs of n counters (counter, kind), (counter + 1, kind), ... */
static void encrypt(int normal, uint32_t k0, uint32_t k1, uint32_t counter, uint32_t kind, int64_t n,
                    uint32_t *restrict first, uint32_t *restrict second)
{
    if (normal)
        for (int64_t i = 0; i < n; i++) {
            const words w = box_muller(threefry(k0, k1, counter + (uint32_t)i, kind));
            first[i] = w.a, second[i] = w.b;
        }
    else
        for (int64_t i = 0; i < n; i++) {
            const words w = threefry(k0, k1, counter + (uint32_t)i, kind);
            first[i] = w.a, second[i] = w.b;
        }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Work items begin to end - 1 of draws [rows, size]: item r * half + i is counter i of row r, which gives elements i
   and i + half. A key is two words, or three with the first counter; row and word are the strides of keys. */
EXPORTED void bnnbench_draw(const uint32_t *keys, int64_t row, int64_t word, int width, int normal, uint32_t kind,
                            int64_t size, int64_t half, int64_t begin, int64_t end, uint32_t *out)
{
    const int64_t singles = smaller(size, half), pairs = size - singles;
    for (int64_t r = begin / half; r * half < end; r++) {
        const uint32_t *key = keys + r * row;
        const uint32_t k0 = key[0], k1 = key[word], counter = width == 3 ? key[2 * word] : 0;
        uint32_t *own = out + r * size, unused[2];
        int64_t i = r * half < begin ? begin - r * half : 0;
        const int64_t stop = smaller(end - r * half, singles), paired = smaller(stop, pairs);
        if (i < paired) {
            encrypt(normal, k0, k1, counter + (uint32_t)i, kind, paired - i, own + i, own + half + i);
            i = paired;
        }
        if (i < stop) /* the second word of the last counter (of the last two, if size = 2) is not asked for */
            encrypt(normal, k0, k1, counter + (uint32_t)i, kind, stop - i, own + i, unused);
    }
}
