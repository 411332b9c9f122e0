/* Assertions: what the compiled code relies on and never checks in a release, because a mistake in ioring itself would
 * have to come first. A debug build (IORING_DEBUG=1) and the one for the sanitizers check it.
 *
 * A condition that does not hold prints itself with its place, and ends the process: going on would hand memory to the
 * kernel that is not ours. In a release nothing of the condition is evaluated; where checking takes more than one
 * expression, `if IORING_ASSERTIONS:` stands before it.
 */
#ifndef IORING_ASSERTIONS_H
#define IORING_ASSERTIONS_H

#ifdef IORING_DEBUG

#include <stdio.h>
#include <stdlib.h>

#define IORING_ASSERTIONS 1

static inline void ioring_assertion_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: ioring: assertion failed: %s\n", file, line, condition);
    fflush(stderr);
    abort();
}

#define ioring_assert(condition) ((condition) ? (void)0 : ioring_assertion_failed(#condition, __FILE__, __LINE__))

#else

#define IORING_ASSERTIONS 0
#define ioring_assert(condition) ((void)sizeof((condition) ? 1 : 0))

#endif
#endif
