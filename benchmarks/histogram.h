// Latencies in logarithmic steps: every power of two is cut into 64, so that a value is known to 1.6 %.
#ifndef BENCHMARKS_HISTOGRAM_H
#define BENCHMARKS_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 6,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_BITS,
    HISTOGRAM_SIZE = (65 - HISTOGRAM_BITS) * HISTOGRAM_STEPS
};

struct histogram {
    uint64_t counts[HISTOGRAM_SIZE];
    uint64_t total, largest;
};

// Values below HISTOGRAM_STEPS have a step of their own; above, the leading bits choose.
static inline unsigned histogram_step(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->counts[histogram_step(value)]++;
    histogram->total++;
    if (value > histogram->largest)
        histogram->largest = value;
}

// The middle of the step in which the fraction is reached; 0 when nothing was added.
static inline uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->total + 0.5), seen = 0;
    for (unsigned step = 0; step < HISTOGRAM_SIZE; step++) {
        seen += histogram->counts[step];
        if (seen < wanted || !histogram->counts[step])
            continue;
        unsigned shift = step < 2 * HISTOGRAM_STEPS ? 0 : (step >> HISTOGRAM_BITS) - 1;
        uint64_t middle = ((uint64_t)(step - (shift << HISTOGRAM_BITS)) << shift) + ((1ULL << shift) >> 1);
        return middle > histogram->largest ? histogram->largest : middle;
    }
    return 0;
}

#endif
