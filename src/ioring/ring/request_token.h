/* The token of a request: the 64 bits that the kernel hands back with each of its completions (sqe.user_data).
 *
 *     bit 63        1: a request of this ring. Messages from other rings use the numbers below 2**63
 *     bits 22..62   how many requests the ring had made before: so no token is used twice
 *     bits 0..21    the request's index in the ring's table
 */
#ifndef IORING_REQUEST_TOKEN_H
#define IORING_REQUEST_TOKEN_H

#include <stdint.h>

#define IORING_TOKEN_BIT (1ull << 63)
#define IORING_TOKEN_INDEX_BITS 22
#define IORING_TOKEN_INDEX_MAX ((1u << IORING_TOKEN_INDEX_BITS) - 1)

static inline uint64_t ioring_token(uint64_t generation, unsigned index)
{
    return IORING_TOKEN_BIT | generation << IORING_TOKEN_INDEX_BITS | index;
}

static inline unsigned ioring_token_index(uint64_t token)
{
    return (unsigned)token & IORING_TOKEN_INDEX_MAX;
}

#endif
