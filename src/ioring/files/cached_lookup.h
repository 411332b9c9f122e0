/* What the kernel knows of a name by heart: a look into its caches that never waits for a disk or a server.
 */
#ifndef IORING_NAMES_H
#define IORING_NAMES_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif
#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif

/* struct statx as of Linux 6.8, whatever the headers are of. */
struct ioring_statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare0;
    uint64_t ino, size, blocks, attributes_mask;
    struct {
        int64_t sec;
        uint32_t nsec;
        int32_t spare;
    } atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mnt_id;
    uint64_t spare[13];
};

#define IORING_STATX_BASIC 0x7ffu
#define IORING_STATX_MNT_ID 0x1000u
#define IORING_STATX_MNT_ID_UNIQUE 0x4000u
#define IORING_STATX_WANTED (IORING_STATX_BASIC | IORING_STATX_MNT_ID_UNIQUE)

static inline int ioring_statx(int folder, const char *path, int flags, struct ioring_statx *out)
{
    return syscall(SYS_statx, folder, path, flags, IORING_STATX_WANTED, out) < 0 ? -errno : 0;
}

/* The number of a file's mount as /proc/self/mountinfo has it; -1 before Linux 5.8. */
static inline int64_t ioring_mount_id(int folder, const char *path, int flags)
{
    struct ioring_statx found;
    if (syscall(SYS_statx, folder, path, flags, IORING_STATX_MNT_ID, &found) < 0)
        return -1;
    return found.mask & IORING_STATX_MNT_ID ? (int64_t)found.mnt_id : -1;
}

static inline int ioring_openat2(int folder, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
    long fd = syscall(SYS_openat2, folder, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

/* Whether an answer from the caches is the answer. What else may come, of filters and full tables, says nothing. */
static inline int ioring_is_final(int error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -ELOOP || error == -ENAMETOOLONG;
}

/* statx of what is cached; -EAGAIN when it is not. Attributes of network file systems may be out of date. Where id is
   given it becomes the number of the mount. */
static inline int ioring_stat_now(int folder, const char *path, int flags, struct ioring_statx *out, int64_t *id)
{
    int error, fd = folder;
    if (flags & AT_EMPTY_PATH) {
        if (id)
            *id = ioring_mount_id(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC);
        return ioring_statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, out);
    }
    fd = ioring_openat2(folder, path, O_PATH | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0), RESOLVE_CACHED);
    if (fd < 0)
        return ioring_is_final(fd) ? fd : -EAGAIN;
    error = ioring_statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, out);
    if (id)
        *id = ioring_mount_id(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC);
    close(fd);
    return error;
}

/* A mount, by a number that is never used again (Linux 6.8). Before, one mounted later in its place may look the same,
   and the worst that follows is that attributes of a network file system are as old as its caches. */
static inline uint64_t ioring_mount(const struct ioring_statx *found)
{
    uint64_t device = (uint64_t)found->dev_major << 20 | found->dev_minor;
    if (found->mask & IORING_STATX_MNT_ID_UNIQUE)
        return found->mnt_id;
    return (found->mask & IORING_STATX_MNT_ID ? found->mnt_id << 40 : 0) ^ device ^ UINT64_C(1) << 63;
}

#endif
