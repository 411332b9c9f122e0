/* The positions that files keep themselves, because nobody else has their descriptors.
 *
 * After a fork() the child has them too. So before one, each descriptor's own position is set to that of its file, which
 * is used from then on. The list changes under the GIL alone. It refers to no object, so that one may go at any time.
 */
#ifndef IORING_OWN_POSITIONS_H
#define IORING_OWN_POSITIONS_H

#include <stdint.h>
#include <unistd.h>

struct ioring_own_position {
    struct ioring_own_position *next, *previous; /* NULL, NULL: not in the list */
    const int *fd;
    const int64_t *position;
    int *tracked;    /* becomes 0 */
    const int *busy; /* an operation is under way, which needs the file's position until its end: */
    int *sharing;    /* then this becomes 1 instead */
};

static struct ioring_own_position ioring_own_positions = {&ioring_own_positions, &ioring_own_positions};

static inline void ioring_keep_position(struct ioring_own_position *it)
{
    it->next = ioring_own_positions.next;
    it->previous = &ioring_own_positions;
    it->next->previous = it->previous->next = it;
}

static inline void ioring_drop_position(struct ioring_own_position *it)
{
    if (!it->next)
        return;
    it->next->previous = it->previous;
    it->previous->next = it->next;
    it->next = it->previous = NULL;
}

static inline void ioring_share_position(struct ioring_own_position *it)
{
    lseek(*it->fd, *it->position, SEEK_SET);
    if (*it->busy) {
        *it->sharing = 1;
    } else {
        *it->tracked = 0;
        ioring_drop_position(it);
    }
}

static inline void ioring_share_positions(void)
{
    struct ioring_own_position *it, *next;

    for (it = ioring_own_positions.next; it != &ioring_own_positions; it = next) {
        next = it->next;
        ioring_share_position(it);
    }
}

#endif
