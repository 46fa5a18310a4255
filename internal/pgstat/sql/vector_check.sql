-- Can this session compute a vector distance? Answers √27 = 5.196….
--
-- By hand:
--   \i vector_check.sql
--
-- public stands for the schema of the extension; the reader puts the real one
-- in its place, quoted, so that search_path does not matter.
select '[1,2,3]'::public.vector operator(public.<->) '[4,5,6]'::public.vector as distance;
